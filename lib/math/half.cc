#include "lib/math/half.h"

#include <bit>
#include <cassert>
#include <cstddef>

#include "lib/math/simd.h"

namespace distmnist {
namespace {

// Numbers are converted in integers, but for two additions whose operands and results are normal numbers: neither
// instructions nor the treatment of denormals change a bit. Both ways of a choice are computed, so that loops become
// vectors.

constexpr std::uint32_t kInfinity = 0x7F800000;  // of float32; larger magnitudes are NaN
constexpr std::uint32_t kQuietBit = 0x00400000;

DISTMNIST_INLINE_INTO_VERSIONS std::uint16_t to_bf16(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  // Half a unit of the last place, less one bit where that place is even; a carry goes into the exponent as it should.
  const std::uint32_t rounded = bits + 0x7FFF + ((bits >> 16) & 1);
  const bool nan = (bits & 0x7FFFFFFF) > kInfinity;
  return static_cast<std::uint16_t>((nan ? bits | kQuietBit : rounded) >> 16);
}

DISTMNIST_INLINE_INTO_VERSIONS float of_bf16(std::uint16_t half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

DISTMNIST_INLINE_INTO_VERSIONS std::uint16_t to_f16(float number) {
  constexpr std::uint32_t kSmallestNormal = 113u << 23;  // 2^-14
  constexpr std::uint32_t kTooLarge = 143u << 23;        // 2^16
  constexpr std::uint32_t kRebias = 112u << 23;          // between the exponents' biases, 127 and 15
  const auto bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t sign = (bits >> 16) & 0x8000;
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  const std::uint32_t normal = (magnitude - kRebias + 0x0FFF + ((magnitude >> 13) & 1)) >> 13;
  // Added to 1/2, whose last place is 2^-24 as is that of a subnormal float16, a number is rounded there. The choice of
  // the addend keeps denormals out of the addition; they are below half a unit.
  const std::uint32_t small = magnitude < (1u << 23) ? 0 : magnitude;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(small) + 0.5f) - (126u << 23);
  const std::uint32_t nan = 0x7E00 | ((magnitude >> 13) & 0x3FF);
  const std::uint32_t large = magnitude > kInfinity ? nan : 0x7C00;
  const std::uint32_t finite = magnitude < kSmallestNormal ? subnormal : normal;
  return static_cast<std::uint16_t>(sign | (magnitude >= kTooLarge ? large : finite));
}

DISTMNIST_INLINE_INTO_VERSIONS float of_f16(std::uint16_t half) {
  constexpr std::uint32_t kRebias = 112u << 23;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7FFF) << 13;
  const std::uint32_t exponent = magnitude & (0x1Fu << 23);
  const std::uint32_t normal = magnitude + kRebias;
  const std::uint32_t large = normal + kRebias;  // infinity and NaN
  // 2^-14 and the subnormal number as its fraction, less 2^-14.
  const float with_one = std::bit_cast<float>(normal + (1u << 23));
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(with_one - std::bit_cast<float>(113u << 23));
  const std::uint32_t finite = exponent == 0 ? subnormal : normal;
  return std::bit_cast<float>(sign | (exponent == 0x1Fu << 23 ? large : finite));
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
