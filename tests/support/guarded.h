// A matrix inside a larger array with NaN around it and between its rows: code that reads outside the matrix computes
// NaN, and code that writes outside is detected.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "lib/base/random.h"

namespace distmnist {

class Guarded {
 public:
  // A matrix with one row.
  explicit Guarded(std::int64_t size) : Guarded(1, size, size) {}
  Guarded(std::int64_t rows, std::int64_t columns, std::int64_t stride)
      : rows_(rows),
        columns_(columns),
        stride_(stride),
        floats_(static_cast<std::size_t>(rows * stride) + 2 * kGuard, kNan) {}

  float* data() { return floats_.data() + kGuard; }
  const float* data() const { return floats_.data() + kGuard; }
  std::int64_t stride() const { return stride_; }
  float& at(std::int64_t row, std::int64_t column) { return data()[row * stride_ + column]; }
  float at(std::int64_t row, std::int64_t column) const { return data()[row * stride_ + column]; }
  // For a matrix with one row.
  std::span<float> span() { return {data(), static_cast<std::size_t>(columns_)}; }
  std::span<const float> span() const { return {data(), static_cast<std::size_t>(columns_)}; }

  // fill(next): sets every element to the result of next(), in the order of the rows.
  template <typename Next>
  Guarded& fill(const Next& next) {
    for (std::int64_t row = 0; row < rows_; ++row) {
      for (std::int64_t column = 0; column < columns_; ++column) at(row, column) = next();
    }
    return *this;
  }
  Guarded& fill_uniform(Random& random) {  // in [-1, 1)
    return fill([&] { return 2.0f * random.uniform() - 1.0f; });
  }

  // True if nothing outside the matrix has been written.
  bool is_whole() const {
    for (std::size_t i = 0; i < floats_.size(); ++i) {
      const std::int64_t at = static_cast<std::int64_t>(i) - kGuard;
      const bool inside = at >= 0 && at < rows_ * stride_ && at % stride_ < columns_;
      if (!inside && std::bit_cast<std::uint32_t>(floats_[i]) != std::bit_cast<std::uint32_t>(kNan)) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t kGuard = 67;  // floats; odd, so that the matrix is not aligned
  static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

  std::int64_t rows_, columns_, stride_;
  std::vector<float> floats_;
};

}  // namespace distmnist
