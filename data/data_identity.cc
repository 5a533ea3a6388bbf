#include "data/data_identity.h"

#include <algorithm>
#include <span>

#include <fmt/core.h>

#include "lib/base/random.h"
#include "lib/math/crc32c.h"

namespace distmnist {
namespace {

constexpr std::int64_t kMaxSampledRows = 4096;  // of each set

std::uint32_t sample_rows(const ImageSet& set, std::uint32_t crc) {
  const std::int64_t rows = set.count * set.height;
  const std::int64_t samples = std::min(rows, kMaxSampledRows);
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::int64_t begin = i * rows / samples, end = (i + 1) * rows / samples;
    const auto stretch = static_cast<std::uint64_t>(end - begin);
    const std::int64_t row = begin + static_cast<std::int64_t>(mix64(static_cast<std::uint64_t>(i)) % stretch);
    const auto pixels =
        set.pixels.subspan(static_cast<std::size_t>(row * set.width), static_cast<std::size_t>(set.width));
    crc = crc32c(std::as_bytes(pixels), crc);
  }
  return crc;
}

int largest_label(const ImageSet& set) {
  return set.labels.empty() ? -1 : *std::ranges::max_element(set.labels);
}

}  // namespace

DataIdentity identity_of(const TrainAndTest& data) {
  return {.train_count = data.train.count,
          .test_count = data.test.count,
          .height = data.train.height,
          .width = data.train.width,
          .num_classes = 1 + std::max(largest_label(data.train), largest_label(data.test)),
          .labels_crc32c = crc32c(std::as_bytes(data.test.labels), crc32c(std::as_bytes(data.train.labels))),
          .sampled_rows_crc32c = sample_rows(data.test, sample_rows(data.train, 0))};
}

std::string describe(const DataIdentity& identity) {
  return fmt::format("{} + {} images of {}x{} in {} classes, labels {:08x}, sampled rows {:08x}", identity.train_count,
                     identity.test_count, identity.height, identity.width, identity.num_classes, identity.labels_crc32c,
                     identity.sampled_rows_crc32c);
}

bool same_shape(const DataIdentity& a, const DataIdentity& b) {
  return a.height == b.height && a.width == b.width && a.num_classes == b.num_classes;
}

}  // namespace distmnist
