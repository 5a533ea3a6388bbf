// Whether numbers are of reasonable size: a look at many of them for one that is not finite, or too large. As fast as
// memory.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace distmnist {

// True where no magnitude is above `limit` (0 or more, not NaN), and none is NaN.
bool all_within(std::span<const float> numbers, float limit);

// The same of 16-bit numbers whose magnitude is their lower 15 bits, as of bfloat16 and float16: larger bits are larger
// numbers, then infinity, then NaN.
bool all_within(std::span<const std::uint16_t> numbers, std::uint16_t limit);

inline bool all_finite(std::span<const float> numbers) {
  return all_within(numbers, std::numeric_limits<float>::max());
}

// The same, in instructions that every processor has. For tests.
bool all_within_portable(std::span<const float> numbers, float limit);
bool all_within_portable(std::span<const std::uint16_t> numbers, std::uint16_t limit);

}  // namespace distmnist
