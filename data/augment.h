// Augmentation: training images that are moved and distorted a little, in another way each time that they come, so that
// a network which sees them several times learns digits and not these images.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace distmnist {

enum class Augmentation : std::uint8_t {
  kNone,
  kAffine  // a linear map near the identity (turn, scale, shear) and a shift
};

// "none", "affine"; Error (kUsage) names the known ones.
Augmentation parse_augmentation(std::string_view name);

// The largest shift in each direction, and the largest difference of each of the four factors of the linear map from
// the identity's: 0.1 is a turn by 6 degrees, or 10 % in width.
inline constexpr float kLargestShift = 2.0f;  // pixels
inline constexpr float kLargestDistortion = 0.1f;

// Where a pixel of the new image comes from, both seen from the centre of the image, in pixels, x to the right and y
// downwards: x_old = xx x + xy y + x_shift, y_old = yx x + yy y + y_shift.
struct AffineMap {
  float xx = 1, xy = 0, x_shift = 0;
  float yx = 0, yy = 1, y_shift = 0;
};

// Writes new images into their own memory, of one size.
class AffineResampler {
 public:
  AffineResampler(std::int64_t height, std::int64_t width);
  // image [height, width], bilinear between its pixels, 0 outside of it.
  void apply(const AffineMap& map, std::span<float> image);

 private:
  std::int64_t height_, width_;
  std::vector<float> padded_;  // the old image, with a frame of zeros
};

// The map of one sample: a pure function of (seed, worker, sample number), as the order of the data is.
AffineMap draw_affine_map(std::uint64_t seed, std::uint64_t worker, std::int64_t sample);

// The batches of `input`, whose images are [height, width], with each image augmented by its sample's number, so that
// the same position in the data has the same images, wherever batches begin. Labels stay.
BatchSourcePtr augment(BatchSourcePtr input, Augmentation augmentation, std::int64_t height, std::int64_t width,
                       std::uint64_t seed, std::uint64_t worker);

}  // namespace distmnist
