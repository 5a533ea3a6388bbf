#include "tests/support/cuda_on_host/numbers.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <cuda_bf16.h>

namespace cuda_on_host {

std::size_t size_of(Number type) {
  return type == Number::kF32 ? 4 : 2;
}

float load(const void* data, Number type, std::size_t index) {
  if (type == Number::kF32) return static_cast<const float*>(data)[index];
  return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
}

void store(void* data, Number type, std::size_t index, float value) {
  if (type == Number::kF32) {
    static_cast<float*>(data)[index] = value;
  } else {
    static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(value);
  }
}

float to_tf32(float value) {
  constexpr std::uint32_t kExponent = 0x7f800000, kHalf = 0x1000, kDropped = 0x1fff;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & kExponent) == kExponent) return value;
  return std::bit_cast<float>((bits + kHalf) & ~kDropped);
}

// Adds one row of `right` after the other to a few rows of the result, which are short enough to stay in the
// first-level cache.
void multiply_add(const ProductSize& size, const float* left, const float* right, float* result) {
  constexpr std::size_t kRows = 8, kColumns = 512;
  for (std::size_t row = 0; row < size.rows; row += kRows) {
    const std::size_t last_row = std::min(row + kRows, size.rows);
    for (std::size_t column = 0; column < size.columns; column += kColumns) {
      const std::size_t count = std::min(kColumns, size.columns - column);
      for (std::size_t k = 0; k < size.depth; ++k) {
        const float* __restrict from = right + k * size.columns + column;
        for (std::size_t i = row; i < last_row; ++i) {
          const float factor = left[i * size.depth + k];
          float* __restrict into = result + i * size.columns + column;
          for (std::size_t j = 0; j < count; ++j) into[j] += factor * from[j];
        }
      }
    }
  }
}

}  // namespace cuda_on_host
