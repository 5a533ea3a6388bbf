// TensorView: the kernels' view of the numbers between two layers.
#pragma once

#include <cstdint>

namespace distmnist::cuda {

enum class NumberType : std::uint8_t { kF32, kBf16 };
// The last index varies fastest. Both layouts are the same for flat samples ({n, 1, 1}).
enum class Layout : std::uint8_t { kNchw, kNhwc };

inline std::int64_t size_of(NumberType type) {
  return type == NumberType::kF32 ? 4 : 2;
}

// Numbers on a device, [batch, channels, height, width] in `layout` order, dense. Passed to kernels by value.
struct TensorView {
  void* data = nullptr;
  NumberType type = NumberType::kF32;
  Layout layout = Layout::kNchw;
  std::int32_t batch = 0, channels = 0, height = 0, width = 0;

  std::int64_t size() const { return std::int64_t{batch} * channels * height * width; }
  std::int64_t size_bytes() const { return size() * size_of(type); }
};

}  // namespace distmnist::cuda
