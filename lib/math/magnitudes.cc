#include "lib/math/magnitudes.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "lib/math/simd.h"

namespace distmnist {
namespace {

// Numbers looked at between two questions whether one was too large: few enough for an early answer, enough for the
// question to cost nothing.
constexpr std::size_t kBlock = 4096;

// The bits of a number without its sign are a whole number that is larger where the magnitude is; infinity and NaN are
// the largest. So `limit` less them is negative for what is too large, and no instruction of the loop depends on what
// the numbers are.
DISTMNIST_INLINE_INTO_VERSIONS bool f32_within(const float* numbers, std::size_t size, std::int32_t limit) {
  std::int32_t differences = 0;
  for (std::size_t i = 0; i < size; ++i) {
    differences |= limit - static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(numbers[i]) & 0x7FFFFFFF);
  }
  return differences >= 0;
}

DISTMNIST_INLINE_INTO_VERSIONS bool half_within(const std::uint16_t* numbers, std::size_t size, std::uint16_t limit) {
  std::uint16_t differences = 0;
  for (std::size_t i = 0; i < size; ++i) {
    differences = static_cast<std::uint16_t>(differences | (limit - (numbers[i] & 0x7FFF)));
  }
  return (differences & 0x8000) == 0;
}

DISTMNIST_INLINE_INTO_VERSIONS bool f32_loop(std::span<const float> numbers, float limit) {
  const auto bits = std::bit_cast<std::int32_t>(limit);
  for (std::size_t begin = 0; begin < numbers.size(); begin += kBlock) {
    if (!f32_within(numbers.data() + begin, std::min(kBlock, numbers.size() - begin), bits)) return false;
  }
  return true;
}

DISTMNIST_INLINE_INTO_VERSIONS bool half_loop(std::span<const std::uint16_t> numbers, std::uint16_t limit) {
  for (std::size_t begin = 0; begin < numbers.size(); begin += kBlock) {
    if (!half_within(numbers.data() + begin, std::min(kBlock, numbers.size() - begin), limit)) return false;
  }
  return true;
}

}  // namespace

DISTMNIST_VERSIONS bool all_within(std::span<const float> numbers, float limit) {
  return f32_loop(numbers, limit);
}
DISTMNIST_VERSIONS bool all_within(std::span<const std::uint16_t> numbers, std::uint16_t limit) {
  return half_loop(numbers, limit);
}

bool all_within_portable(std::span<const float> numbers, float limit) {
  return f32_loop(numbers, limit);
}
bool all_within_portable(std::span<const std::uint16_t> numbers, std::uint16_t limit) {
  return half_loop(numbers, limit);
}

}  // namespace distmnist
