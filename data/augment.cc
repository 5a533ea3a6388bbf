#include "data/augment.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/math/simd.h"

namespace distmnist {
namespace {

// Keeps the maps independent of everything else derived from the run's seed.
constexpr std::uint64_t kAugmentDomain = 0x6175676d656e74;  // "augment"

// The border of zeros around an image. A source position is clamped to one pixel outside the image, where all is zero,
// and needs a neighbour to the right and below.
constexpr std::int64_t kFrameBefore = 1, kFrameAfter = 2;

// One row of the new image: the source position of its first pixel in the padded image, and the step to each next one.
struct SourceRow {
  float x, y, x_step, y_step;
};

struct PaddedImage {
  const float* pixels;
  std::int32_t stride;
  float x_last, y_last;  // the largest source position
};

DISTMNIST_VERSIONS void resample_row(const PaddedImage& padded, const SourceRow& row, std::int64_t width, float* out) {
  const float* const pixels = padded.pixels;
  const std::int32_t stride = padded.stride;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::int32_t column = 0; column < width; ++column) {
    const auto step = static_cast<float>(column);
    const float x = std::min(std::max(row.x + step * row.x_step, 0.0f), padded.x_last);
    const float y = std::min(std::max(row.y + step * row.y_step, 0.0f), padded.y_last);
    const auto left = static_cast<std::int32_t>(x), top = static_cast<std::int32_t>(y);  // Not negative: rounds down.
    const float right_share = x - static_cast<float>(left), low_share = y - static_cast<float>(top);
    const std::int32_t at = top * stride + left;
    const float upper = pixels[at] + right_share * (pixels[at + 1] - pixels[at]);
    const float lower = pixels[at + stride] + right_share * (pixels[at + stride + 1] - pixels[at + stride]);
    out[column] = upper + low_share * (lower - upper);
  }
}

class Augment : public BatchSource {
 public:
  Augment(BatchSourcePtr input, const AugmentOptions& options)
      : input_(std::move(input)),
        image_size_(static_cast<std::size_t>(options.height * options.width)),
        seed_(options.seed),
        worker_(options.worker),
        resampler_(options.height, options.width) {}

  bool next(TrainBatch& batch) override {
    if (!input_->next(batch)) return false;
    for (std::int64_t i = 0; i < batch.size; ++i) {
      const auto image = std::span(batch.images).subspan(static_cast<std::size_t>(i) * image_size_, image_size_);
      resampler_.apply(draw_affine_map(seed_, worker_, batch.first_sample + i), image);
    }
    return true;
  }

 private:
  BatchSourcePtr input_;
  std::size_t image_size_;
  std::uint64_t seed_, worker_;
  AffineResampler resampler_;
};

}  // namespace

Augmentation parse_augmentation(std::string_view name) {
  for (const auto augmentation : {Augmentation::kNone, Augmentation::kAffine}) {
    if (name == to_string(augmentation)) return augmentation;
  }
  fail(ExitCode::kUsage, "--augment={}: choose none or affine", name);
}

std::string_view to_string(Augmentation augmentation) {
  return augmentation == Augmentation::kNone ? "none" : "affine";
}

AffineResampler::AffineResampler(std::int64_t height, std::int64_t width)
    : height_(height),
      width_(width),
      padded_(static_cast<std::size_t>((height + kFrameBefore + kFrameAfter) * (width + kFrameBefore + kFrameAfter))) {}

void AffineResampler::apply(const AffineMap& map, std::span<float> image) {
  assert(std::ssize(image) == height_ * width_);
  const std::int64_t stride = width_ + kFrameBefore + kFrameAfter;
  for (std::int64_t y = 0; y < height_; ++y) {
    std::copy_n(&image[static_cast<std::size_t>(y * width_)], width_,
                &padded_[static_cast<std::size_t>((y + kFrameBefore) * stride + kFrameBefore)]);
  }
  const PaddedImage padded{padded_.data(), static_cast<std::int32_t>(stride), static_cast<float>(width_ + kFrameBefore),
                           static_cast<float>(height_ + kFrameBefore)};
  const float x_centre = static_cast<float>(width_ - 1) / 2, y_centre = static_cast<float>(height_ - 1) / 2;
  for (std::int64_t row = 0; row < height_; ++row) {
    const float x = -x_centre, y = static_cast<float>(row) - y_centre;
    const SourceRow source{map.xx * x + map.xy * y + map.x_shift + x_centre + kFrameBefore,
                           map.yx * x + map.yy * y + map.y_shift + y_centre + kFrameBefore, map.xx, map.yx};
    resample_row(padded, source, width_, &image[static_cast<std::size_t>(row * width_)]);
  }
}

AffineMap draw_affine_map(std::uint64_t seed, std::uint64_t worker, std::int64_t sample) {
  Random random(mix64(seed ^ kAugmentDomain) + worker, static_cast<std::uint64_t>(sample));
  const auto around = [&random](float middle, float reach) { return middle + reach * (2 * random.uniform() - 1); };
  AffineMap map;
  map.xx = around(1, kLargestDistortion);
  map.xy = around(0, kLargestDistortion);
  map.yx = around(0, kLargestDistortion);
  map.yy = around(1, kLargestDistortion);
  map.x_shift = around(0, kLargestShift);
  map.y_shift = around(0, kLargestShift);
  return map;
}

BatchSourcePtr augment(BatchSourcePtr input, const AugmentOptions& options) {
  if (options.augmentation == Augmentation::kNone) return input;
  return std::make_unique<Augment>(std::move(input), options);
}

}  // namespace distmnist
