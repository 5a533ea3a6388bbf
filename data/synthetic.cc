#include "data/synthetic.h"

#include <algorithm>
#include <array>
#include <memory>
#include <thread>
#include <vector>

#include "data/digit_painter.h"
#include "lib/base/random.h"

namespace distmnist {
namespace {

constexpr std::uint64_t kSyntheticDomain = 0x646967697473;  // "digits"

}  // namespace

ImageSet make_synthetic_digits(std::int64_t count, std::uint64_t seed, Split split, int threads) {
  const auto num_images = static_cast<std::size_t>(count);
  constexpr std::size_t kImageSize = kDigitSide * kDigitSide;
  const std::shared_ptr<std::uint8_t[]> pixels =
      std::make_shared_for_overwrite<std::uint8_t[]>(num_images * kImageSize);
  const std::shared_ptr<std::uint8_t[]> labels = std::make_shared_for_overwrite<std::uint8_t[]>(num_images);
  const std::uint64_t key = mix64(seed ^ kSyntheticDomain) + static_cast<std::uint64_t>(split);
  const auto paint_every = [&](std::size_t first, std::size_t step) {
    for (std::size_t i = first; i < num_images; i += step) {
      Random random(key, i);
      labels[i] = static_cast<std::uint8_t>(random.below(10));
      paint_digit(labels[i], random, {pixels.get() + i * kImageSize, kImageSize});
    }
  };
  {
    std::vector<std::jthread> painters;
    const auto num_threads = static_cast<std::size_t>(std::max(threads, 1));
    for (std::size_t t = 0; t < num_threads; ++t) painters.emplace_back(paint_every, t, num_threads);
  }
  return {.count = count,
          .height = kDigitSide,
          .width = kDigitSide,
          .pixels = {pixels.get(), num_images * kImageSize},
          .labels = {labels.get(), num_images},
          .owners = {pixels, labels}};
}

}  // namespace distmnist
