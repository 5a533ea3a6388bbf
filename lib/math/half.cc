#include "lib/math/half.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>

#include "lib/math/simd.h"

namespace distmnist {
namespace {

// In conversions by arithmetic, all operands and results that matter are normal numbers and products are exact: neither
// the instructions (such as fused multiply-add) nor the handling of denormals changes a bit. Both sides of a choice are
// computed, so that loops can be vectorized. The float16 formulas are from Marat Dukhan's FP16 library.

constexpr std::uint32_t kInfinity = 0x7F800000;  // in float32; larger magnitudes are NaN
constexpr std::uint32_t kQuietBit = 0x00400000;

DISTMNIST_INLINE_INTO_VERSIONS std::uint16_t to_bf16(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  // Half a unit of the last place, less one bit if that place is even. A carry correctly goes into the exponent.
  const std::uint32_t rounded = bits + 0x7FFF + ((bits >> 16) & 1);
  const bool nan = (bits & 0x7FFFFFFF) > kInfinity;
  return static_cast<std::uint16_t>((nan ? bits | kQuietBit : rounded) >> 16);
}

DISTMNIST_INLINE_INTO_VERSIONS float of_bf16(std::uint16_t half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

DISTMNIST_INLINE_INTO_VERSIONS std::uint16_t to_f16(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  // Four times the magnitude; infinity from 2^16 on, which float16 cannot represent.
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f * 0x1p-110f;
  // Adding it to a power of two whose last place is four times float16's last place there rounds it to that place.
  // Below 2^-14, where float16 numbers are subnormal, the last place does not get smaller.
  const std::uint32_t exponent = std::max(magnitude & kInfinity, 113u << 23);
  const auto rounded = std::bit_cast<std::uint32_t>(scaled + std::bit_cast<float>(exponent + (15u << 23)));
  // A carry out of the fraction correctly goes into the exponent.
  const std::uint32_t half = ((rounded >> 13) & 0x7C00) + (rounded & 0x0FFF);
  return static_cast<std::uint16_t>(((bits >> 16) & 0x8000) | (magnitude > kInfinity ? 0x7E00 : half));
}

DISTMNIST_INLINE_INTO_VERSIONS float of_f16(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7FFFu;
  // The largest exponent, that of infinity and NaN, becomes float32's largest exponent.
  const float normal = std::bit_cast<float>((magnitude << 13) + (224u << 23)) * 0x1p-112f;
  const float subnormal = std::bit_cast<float>(magnitude | (126u << 23)) - 0.5f;
  const auto bits = std::bit_cast<std::uint32_t>(magnitude < 0x0400 ? subnormal : normal);
  return std::bit_cast<float>(bits | (static_cast<std::uint32_t>(half & 0x8000) << 16));
}

DISTMNIST_INLINE_INTO_VERSIONS void bf16_from_f32_loop(std::span<const float> from, std::span<std::uint16_t> to) {
  assert(from.size() == to.size());
  const float* const source = from.data();
  std::uint16_t* const target = to.data();
  const std::size_t size = to.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) target[i] = to_bf16(source[i]);
}

DISTMNIST_INLINE_INTO_VERSIONS void f16_from_f32_loop(std::span<const float> from, std::span<std::uint16_t> to) {
  assert(from.size() == to.size());
  const float* const source = from.data();
  std::uint16_t* const target = to.data();
  const std::size_t size = to.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) target[i] = to_f16(source[i]);
}

DISTMNIST_INLINE_INTO_VERSIONS void f32_from_bf16_loop(std::span<const std::uint16_t> from, std::span<float> to) {
  assert(from.size() == to.size());
  const std::uint16_t* const source = from.data();
  float* const target = to.data();
  const std::size_t size = to.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) target[i] = of_bf16(source[i]);
}

DISTMNIST_INLINE_INTO_VERSIONS void f32_from_f16_loop(std::span<const std::uint16_t> from, std::span<float> to) {
  assert(from.size() == to.size());
  const std::uint16_t* const source = from.data();
  float* const target = to.data();
  const std::size_t size = to.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) target[i] = of_f16(source[i]);
}

DISTMNIST_INLINE_INTO_VERSIONS void add_bf16_loop(std::span<const std::uint16_t> from, std::span<float> sum) {
  assert(from.size() == sum.size());
  const std::uint16_t* const source = from.data();
  float* const target = sum.data();
  const std::size_t size = sum.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) target[i] += of_bf16(source[i]);
}

DISTMNIST_INLINE_INTO_VERSIONS void add_f16_loop(std::span<const std::uint16_t> from, std::span<float> sum) {
  assert(from.size() == sum.size());
  const std::uint16_t* const source = from.data();
  float* const target = sum.data();
  const std::size_t size = sum.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) target[i] += of_f16(source[i]);
}

}  // namespace

DISTMNIST_VERSIONS void bf16_from_f32(std::span<const float> from, std::span<std::uint16_t> to) {
  bf16_from_f32_loop(from, to);
}
DISTMNIST_VERSIONS void f16_from_f32(std::span<const float> from, std::span<std::uint16_t> to) {
  f16_from_f32_loop(from, to);
}
DISTMNIST_VERSIONS void f32_from_bf16(std::span<const std::uint16_t> from, std::span<float> to) {
  f32_from_bf16_loop(from, to);
}
DISTMNIST_VERSIONS void f32_from_f16(std::span<const std::uint16_t> from, std::span<float> to) {
  f32_from_f16_loop(from, to);
}
DISTMNIST_VERSIONS void add_bf16(std::span<const std::uint16_t> from, std::span<float> sum) {
  add_bf16_loop(from, sum);
}
DISTMNIST_VERSIONS void add_f16(std::span<const std::uint16_t> from, std::span<float> sum) {
  add_f16_loop(from, sum);
}

void bf16_from_f32_portable(std::span<const float> from, std::span<std::uint16_t> to) {
  bf16_from_f32_loop(from, to);
}
void f16_from_f32_portable(std::span<const float> from, std::span<std::uint16_t> to) {
  f16_from_f32_loop(from, to);
}
void f32_from_bf16_portable(std::span<const std::uint16_t> from, std::span<float> to) {
  f32_from_bf16_loop(from, to);
}
void f32_from_f16_portable(std::span<const std::uint16_t> from, std::span<float> to) {
  f32_from_f16_loop(from, to);
}
void add_bf16_portable(std::span<const std::uint16_t> from, std::span<float> sum) {
  add_bf16_loop(from, sum);
}
void add_f16_portable(std::span<const std::uint16_t> from, std::span<float> sum) {
  add_f16_loop(from, sum);
}

}  // namespace distmnist
