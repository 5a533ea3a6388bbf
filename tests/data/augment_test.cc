#include "data/augment.h"

#include <algorithm>
#include <numeric>

#include "data/synthetic.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

constexpr std::int64_t kHeight = 5, kWidth = 7;

// An image in which every pixel has a different value.
std::vector<float> numbered_image() {
  std::vector<float> image(kHeight * kWidth);
  std::iota(image.begin(), image.end(), 1.0f);
  return image;
}

std::vector<float> resampled(const AffineMap& map) {
  std::vector<float> image = numbered_image();
  AffineResampler(kHeight, kWidth).apply(map, image);
  return image;
}

// The pixel of numbered_image at that position; 0 outside the image.
float pixel(std::int64_t row, std::int64_t column) {
  const bool inside = row >= 0 && row < kHeight && column >= 0 && column < kWidth;
  return inside ? static_cast<float>(row * kWidth + column + 1) : 0.0f;
}

// True if each pixel of the image equals the pixel of numbered_image at source(row, column).
template <typename Source>
bool comes_from(const std::vector<float>& image, Source source) {
  for (std::int64_t row = 0; row < kHeight; ++row) {
    for (std::int64_t column = 0; column < kWidth; ++column) {
      if (image[static_cast<std::size_t>(row * kWidth + column)] != source(row, column)) return false;
    }
  }
  return true;
}

const ImageSet& digits() {
  static const ImageSet set = make_synthetic_digits(30, 1, Split::kTrain, 1);
  return set;
}

struct Samples {
  std::vector<float> images;
  std::vector<std::uint8_t> labels;
};

// `count` samples starting at `first`, in batches of `batch_size`.
Samples take(Augmentation augmentation, std::int64_t batch_size, std::int64_t first, std::int64_t count,
             std::uint64_t seed = 1, std::uint64_t worker = 0) {
  auto source = augment(batch(repeat(shuffle(slices(digits()), 9, 0)), batch_size, first),
                        {augmentation, digits().height, digits().width, seed, worker});
  Samples out;
  for (TrainBatch b; std::ssize(out.labels) < count;) {
    REQUIRE(source->next(b));
    out.images.insert(out.images.end(), b.images.begin(), b.images.end());
    out.labels.insert(out.labels.end(), b.labels.begin(), b.labels.end());
  }
  REQUIRE(std::ssize(out.labels) == count);
  return out;
}

}  // namespace

TEST_CASE("the identity map changes no pixel") {
  CHECK(resampled({}) == numbered_image());
}

TEST_CASE("a shift reads each pixel from its source, and zeros outside the image") {
  for (const int x : {-9, -2, -1, 0, 1, 6, 7, 100}) {
    for (const int y : {-6, -1, 0, 2, 5, 100}) {
      INFO(x << " " << y);
      const auto image = resampled({.x_shift = static_cast<float>(x), .y_shift = static_cast<float>(y)});
      CHECK(comes_from(image, [&](auto row, auto column) { return pixel(row + y, column + x); }));
    }
  }
}

TEST_CASE("between pixels the image is interpolated linearly in both directions and fades to zero at the border") {
  const auto image = resampled({.x_shift = 0.25f, .y_shift = 0.5f});
  CHECK(comes_from(image, [](auto row, auto column) {
    const float upper = 0.75f * pixel(row, column) + 0.25f * pixel(row, column + 1);
    const float lower = 0.75f * pixel(row + 1, column) + 0.25f * pixel(row + 1, column + 1);
    return 0.5f * upper + 0.5f * lower;
  }));
}

TEST_CASE("the linear map is centred on the image") {
  CHECK(comes_from(resampled({.xx = -1, .yy = -1}),
                   [](auto row, auto column) { return pixel(kHeight - 1 - row, kWidth - 1 - column); }));
  // A quarter turn: the part to the right of the centre moves below it.
  CHECK(comes_from(resampled({.xx = 0, .xy = 1, .yx = -1, .yy = 0}), [](auto row, auto column) {
    return pixel(kHeight / 2 - (column - kWidth / 2), kWidth / 2 + (row - kHeight / 2));
  }));
  // Half the size.
  CHECK(comes_from(resampled({.xx = 2, .yy = 2}), [](auto row, auto column) {
    return pixel(kHeight / 2 + 2 * (row - kHeight / 2), kWidth / 2 + 2 * (column - kWidth / 2));
  }));
}

TEST_CASE("one resampler can be used for several images in a row") {
  AffineResampler resampler(kHeight, kWidth);
  std::vector<float> zeros(kHeight * kWidth), image = numbered_image();
  resampler.apply({.x_shift = 1}, image);
  resampler.apply({.x_shift = 1}, zeros);
  CHECK(std::ranges::all_of(zeros, [](float value) { return value == 0; }));
}

TEST_CASE("maps are drawn around the identity and stay within the limits") {
  float largest_shift = 0, largest_distortion = 0, sum = 0;
  constexpr int kDraws = 2000;
  for (std::int64_t sample = 0; sample < kDraws; ++sample) {
    const AffineMap map = draw_affine_map(1, 0, sample);
    for (const float shift : {map.x_shift, map.y_shift}) largest_shift = std::max(largest_shift, std::abs(shift));
    for (const float distortion : {map.xx - 1, map.xy, map.yx, map.yy - 1}) {
      largest_distortion = std::max(largest_distortion, std::abs(distortion));
      sum += distortion / kLargestDistortion;
    }
    sum += (map.x_shift + map.y_shift) / kLargestShift;
  }
  CHECK(largest_shift <= kLargestShift);
  CHECK(largest_shift > 0.99f * kLargestShift);
  CHECK(largest_distortion <= kLargestDistortion * 1.001f);  // 1 + x - 1 is rounded
  CHECK(largest_distortion > 0.99f * kLargestDistortion);
  CHECK(sum / (6 * kDraws) == Approx(0).margin(0.03));  // five standard deviations
}

TEST_CASE("images depend only on seed, worker and sample number, not on where batches begin") {
  const Samples whole = take(Augmentation::kAffine, 5, 0, 100);
  CHECK(take(Augmentation::kAffine, 5, 0, 100).images == whole.images);
  CHECK(take(Augmentation::kAffine, 25, 0, 100).images == whole.images);
  const auto image_size = static_cast<std::ptrdiff_t>(digits().image_size());
  for (const std::int64_t first : {1, 5, 37, 90}) {
    const Samples rest = take(Augmentation::kAffine, 1, first, 100 - first);
    CHECK(std::equal(rest.images.begin(), rest.images.end(), whole.images.begin() + first * image_size,
                     whole.images.end()));
  }
  CHECK(take(Augmentation::kAffine, 5, 0, 100, 2).images != whole.images);
  CHECK(take(Augmentation::kAffine, 5, 0, 100, 1, 1).images != whole.images);
}

TEST_CASE("the order of the data and the labels are kept, and each pass has different images") {
  const std::int64_t once = digits().count;
  const Samples plain = take(Augmentation::kNone, 5, 0, 2 * once),
                changed = take(Augmentation::kAffine, 5, 0, 2 * once);
  CHECK(changed.labels == plain.labels);
  CHECK(changed.images != plain.images);
  CHECK(std::ranges::all_of(changed.images, [](float value) { return value >= 0 && value <= 1; }));
  // Each image comes once in each pass, with different pixels.
  auto same_order = batch(repeat(slices(digits())), once);
  auto source = augment(std::move(same_order), {Augmentation::kAffine, digits().height, digits().width, 1, 0});
  TrainBatch first, second;
  REQUIRE(source->next(first));
  REQUIRE(source->next(second));
  CHECK(first.labels == second.labels);
  CHECK(first.images != second.images);
}

TEST_CASE("without augmentation the batches are the input itself") {
  auto input = batch(slices(digits()), 5);
  const BatchSource* const itself = input.get();
  CHECK(augment(std::move(input), {Augmentation::kNone, digits().height, digits().width, 1, 0}).get() == itself);
}

TEST_CASE("the end of the input ends the augmented data") {
  auto source = augment(batch(slices(digits()), 20), {Augmentation::kAffine, digits().height, digits().width, 1, 0});
  TrainBatch b;
  CHECK(source->next(b));
  CHECK(source->next(b));
  CHECK(b.size == 10);
  CHECK_FALSE(source->next(b));
}

TEST_CASE("augmentations are read by name") {
  CHECK(parse_augmentation("none") == Augmentation::kNone);
  CHECK(parse_augmentation("affine") == Augmentation::kAffine);
  CHECK(fails_with(ExitCode::kUsage, "--augment=mirror: choose none or affine", [] { parse_augmentation("mirror"); }));
}
