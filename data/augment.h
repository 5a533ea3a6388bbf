// Augmentation: shifts and distorts training images slightly, differently on each pass, so that a network that sees
// them several times learns digits and not these particular images.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace distmnist {

enum class Augmentation : std::uint8_t {
  kNone,
  kAffine  // a random linear map near the identity (rotation, scale, shear) and a shift
};

// "none" or "affine"; Error (kUsage) lists the known names.
Augmentation parse_augmentation(std::string_view name);
std::string_view to_string(Augmentation augmentation);

// The largest shift in each direction, and the largest deviation of each of the four matrix entries from the identity:
// 0.1 is a rotation by 6 degrees, or 10 % in width.
inline constexpr float kLargestShift = 2.0f;  // pixels
inline constexpr float kLargestDistortion = 0.1f;

// Maps a pixel of the new image to its source. Both positions are relative to the image centre, in pixels, x to the
// right and y down: x_old = xx x + xy y + x_shift, y_old = yx x + yy y + y_shift.
struct AffineMap {
  float xx = 1, xy = 0, x_shift = 0;
  float yx = 0, yy = 1, y_shift = 0;
};

// Transforms images of one size in place.
class AffineResampler {
 public:
  AffineResampler(std::int64_t height, std::int64_t width);
  // `image` is [height, width]; interpolates bilinearly, with 0 outside the image.
  void apply(const AffineMap& map, std::span<float> image);

 private:
  std::int64_t height_, width_;
  std::vector<float> padded_;  // the old image with a border of zeros
};

// The map of one sample: a pure function of (seed, worker, sample number), like the order of the data.
AffineMap draw_affine_map(std::uint64_t seed, std::uint64_t worker, std::int64_t sample);

// How images [height, width] are augmented.
struct AugmentOptions {
  Augmentation augmentation = Augmentation::kNone;
  std::int64_t height = 0, width = 0;
  std::uint64_t seed = 0, worker = 0;  // as in draw_affine_map()
};

// The batches of `input` with each image augmented according to its sample number. The same position in the data
// therefore always has the same image, wherever batches begin. Labels do not change.
BatchSourcePtr augment(BatchSourcePtr input, const AugmentOptions& options);

}  // namespace distmnist
