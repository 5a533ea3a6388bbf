// Magnitudes: whether any of many numbers is not finite or too large. As fast as memory.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace distmnist {

// True if no magnitude is above `limit` (0 or more, not NaN) and no number is NaN.
bool all_within(std::span<const float> numbers, float limit);

// The same for 16-bit numbers whose magnitude is their lower 15 bits, such as bfloat16 and float16: larger bits mean
// larger numbers, then infinity, then NaN.
bool all_within(std::span<const std::uint16_t> numbers, std::uint16_t limit);

inline bool all_finite(std::span<const float> numbers) {
  return all_within(numbers, std::numeric_limits<float>::max());
}

// The same with instructions that every processor has. For tests.
bool all_within_portable(std::span<const float> numbers, float limit);
bool all_within_portable(std::span<const std::uint16_t> numbers, std::uint16_t limit);

}  // namespace distmnist
