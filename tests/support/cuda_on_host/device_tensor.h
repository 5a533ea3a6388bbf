// Numbers in device memory for tests of kernels, which can be written, read and compared with the results of plain
// loops.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "lib/backend/cuda/check.h"
#include "lib/backend/cuda/tensor_view.h"
#include "lib/base/random.h"
#include "lib/graph/graph.h"
#include "tests/support/cuda_on_host/device_array.h"

namespace distmnist::cuda {

// Unwritten memory has 0xEE in every byte, so that a number that a kernel does not write is noticed. In bytes the 0xFF
// from cudaMalloc would have a meaning (kNoneChosen).
template <typename T>
class MarkedArray : public cuda_on_host::DeviceArray<T> {
 public:
  explicit MarkedArray(std::size_t size) : cuda_on_host::DeviceArray<T>(size) {
    check(cudaMemset(this->data(), 0xEE, this->size_bytes()), "fill memory");
  }
  explicit MarkedArray(const std::vector<T>& values) : cuda_on_host::DeviceArray<T>(values) {}
};

// A tensor in device memory, which tests access as doubles in [batch, channels, height, width] order.
class DeviceTensor {
 public:
  DeviceTensor(NumberType type, Layout layout, std::int64_t batch, const Shape& shape)
      : view_{nullptr,
              type,
              layout,
              static_cast<std::int32_t>(batch),
              static_cast<std::int32_t>(shape.channels),
              static_cast<std::int32_t>(shape.height),
              static_cast<std::int32_t>(shape.width)},
        bytes_(static_cast<std::size_t>(view_.size_bytes())) {
    view_.data = bytes_.data();
  }
  DeviceTensor(NumberType type, Layout layout, std::int64_t batch, const Shape& shape, std::span<const double> values)
      : DeviceTensor(type, layout, batch, shape) {
    std::vector<float> floats(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) floats[offset(i)] = static_cast<float>(values[i]);
    std::vector<__nv_bfloat16> halves;
    for (const float number : floats) halves.push_back(__float2bfloat16_rn(number));
    const void* const from = type == NumberType::kF32 ? static_cast<const void*>(floats.data()) : halves.data();
    check(cudaMemcpy(view_.data, from, static_cast<std::size_t>(view_.size_bytes()), cudaMemcpyHostToDevice), "copy");
  }

  const TensorView& view() const { return view_; }
  std::vector<double> fetch() const {
    const std::vector<std::uint8_t> bytes = bytes_.fetch();
    std::vector<double> values(static_cast<std::size_t>(view_.size()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = view_.type == NumberType::kF32
                      ? reinterpret_cast<const float*>(bytes.data())[offset(i)]
                      : __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(bytes.data())[offset(i)]);
    }
    return values;
  }
  // The position in memory of number i in [batch, channels, height, width] order.
  std::size_t offset(std::size_t i) const {
    if (view_.layout == Layout::kNchw) return i;
    const std::size_t channels = view_.channels, plane = static_cast<std::size_t>(view_.height) * view_.width;
    const std::size_t n = i / plane / channels, c = i / plane % channels, pixel = i % plane;
    return (n * plane + pixel) * channels + c;
  }

 private:
  TensorView view_;
  MarkedArray<std::uint8_t> bytes_;
};

// Multiples of 1 / 64 in [-1, 1): bfloat16 can represent them, sums of a few of them are exact in float, and ties are
// frequent.
inline std::vector<double> random_numbers(std::int64_t count, std::uint64_t seed) {
  Random random(seed, 0);
  std::vector<double> numbers(static_cast<std::size_t>(count));
  for (double& number : numbers) number = (static_cast<double>(random.below(128)) - 64) / 64;
  return numbers;
}

// The largest difference, relative for numbers above 1; infinity if sizes differ or numbers are not finite.
inline double worst_error(std::span<const double> actual, std::span<const double> expected) {
  double worst = actual.size() == expected.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]) / std::max(1.0, std::abs(expected[i]));
    if (!(error <= worst)) worst = std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
  }
  return worst;
}

// The error of rounding to `type` and adding up a few numbers in float.
inline double tolerance(NumberType type) {
  return type == NumberType::kF32 ? 1e-5 : 1.0 / 256;
}

inline std::vector<double> to_doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

// Calls visit(type, layout) for all combinations.
template <typename Visit>
void for_each_kind(Visit visit) {
  for (const NumberType type : {NumberType::kF32, NumberType::kBf16}) {
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc}) visit(type, layout);
  }
}

}  // namespace distmnist::cuda
