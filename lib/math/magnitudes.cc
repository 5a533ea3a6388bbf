#include "lib/math/magnitudes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "lib/math/simd.h"

namespace distmnist {
namespace {

// The number of columns whose largest value is kept: enough for a loop of whole vectors on any processor, in which no
// instruction has to wait for the one before.
constexpr std::size_t kColumns = 64;

// The bits of a number without its sign, as an integer, are ordered like the magnitudes; infinity and NaN are the
// largest.
DISTMNIST_INLINE_INTO_VERSIONS std::int32_t magnitude(float number) {
  return std::bit_cast<std::int32_t>(number) & 0x7FFFFFFF;
}
DISTMNIST_INLINE_INTO_VERSIONS std::int16_t magnitude(std::uint16_t number) {
  return static_cast<std::int16_t>(number & 0x7FFF);
}

template <class Number, class Bits = decltype(magnitude(Number()))>
DISTMNIST_INLINE_INTO_VERSIONS Bits largest_magnitude(std::span<const Number> numbers) {
  const Number* const from = numbers.data();
  const std::size_t whole = numbers.size() / kColumns * kColumns;
  std::array<Bits, kColumns> largest = {};
  for (std::size_t i = 0; i < whole; i += kColumns) {
    for (std::size_t k = 0; k < kColumns; ++k) largest[k] = std::max(largest[k], magnitude(from[i + k]));
  }
  for (std::size_t i = whole; i < numbers.size(); ++i) largest[0] = std::max(largest[0], magnitude(from[i]));
  Bits all = 0;
  for (const Bits each : largest) all = std::max(all, each);
  return all;
}

}  // namespace

DISTMNIST_VERSIONS bool all_within(std::span<const float> numbers, float limit) {
  return largest_magnitude(numbers) <= magnitude(limit);
}
DISTMNIST_VERSIONS bool all_within(std::span<const std::uint16_t> numbers, std::uint16_t limit) {
  return largest_magnitude(numbers) <= limit;
}

bool all_within_portable(std::span<const float> numbers, float limit) {
  return largest_magnitude(numbers) <= magnitude(limit);
}
bool all_within_portable(std::span<const std::uint16_t> numbers, std::uint16_t limit) {
  return largest_magnitude(numbers) <= limit;
}

}  // namespace distmnist
