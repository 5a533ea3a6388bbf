// The arithmetic that the stand-ins of cuBLASLt and cuDNN share: matrices as floats, and their products.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cuda_on_host {

enum class Number : std::uint8_t { kF32, kBf16 };
std::size_t size_of(Number type);

float load(const void* data, Number type, std::size_t index);
// Rounds to nearest, ties to even.
void store(void* data, Number type, std::size_t index, float value);

// The value with 10 bits of mantissa, like tensor cores round float32 factors.
float to_tf32(float value);

struct ProductSize {
  std::size_t rows = 0, columns = 0, depth = 0;
};
// result [rows, columns] += left [rows, depth] times right [depth, columns], all of them row-major.
void multiply_add(const ProductSize& size, const float* left, const float* right, float* result);

}  // namespace cuda_on_host
