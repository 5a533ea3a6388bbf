#include "lib/math/magnitudes.h"

#include <bit>
#include <cmath>
#include <vector>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;
using Halves = std::vector<std::uint16_t>;

constexpr float kLimit = 1e15f;

bool within(const Floats& numbers) {
  const bool fast = all_within(std::span<const float>(numbers), kLimit);
  CHECK(all_within_portable(std::span<const float>(numbers), kLimit) == fast);
  return fast;
}

bool within(const Halves& numbers, std::uint16_t limit) {
  const bool fast = all_within(std::span<const std::uint16_t>(numbers), limit);
  CHECK(all_within_portable(std::span<const std::uint16_t>(numbers), limit) == fast);
  return fast;
}

}  // namespace

TEST_CASE("magnitudes up to the limit are within it; the next larger one, infinity and NaN are not") {
  const float beyond = std::nextafter(kLimit, INFINITY);
  const auto nan_of = [](std::uint32_t bits) { return std::bit_cast<float>(bits); };
  for (const float good : {0.0f, -0.0f, 1e-45f, -1e-45f, 1.0f, kLimit, -kLimit}) CHECK(within(Floats{good}));
  for (const float bad : {beyond, -beyond, 1e22f, INFINITY, -INFINITY, nan_of(0x7F800001), nan_of(0xFF800001),
                          nan_of(0x7FC00000), nan_of(0x7FFFFFFF), nan_of(0xFFFFFFFF)}) {
    CHECK_FALSE(within(Floats{bad}));
  }
  CHECK(within(Floats{}));
}

TEST_CASE("one bad number is found at any position") {
  for (const std::size_t size : {1u, 7u, 64u, 4096u, 4097u, 9000u}) {
    Floats numbers(size, -2.5f);
    Halves halves(size, 0x3C00);
    CHECK(within(numbers));
    CHECK(within(halves, 0x7BFF));
    for (std::size_t at = 0; at < size; at += size < 100 ? 1 : 97) {
      numbers[at] = NAN;
      halves[at] = 0xFC00;
      if (within(numbers) || within(halves, 0x7BFF)) FAIL_CHECK("not found at " << at << " of " << size);
      numbers[at] = 1;
      halves[at] = 0xBC00;
    }
  }
}

TEST_CASE("16-bit numbers are compared by their lower 15 bits") {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const bool good = (bits & 0x7FFF) <= 0x7BFF;
    if (within(Halves{static_cast<std::uint16_t>(bits)}, 0x7BFF) != good) FAIL_CHECK("wrong for " << bits);
  }
}

TEST_CASE("all float32 numbers except infinity and NaN are finite") {
  CHECK(all_finite(Floats{3.4028235e38f, -3.4028235e38f, 1e-45f}));
  CHECK_FALSE(all_finite(Floats{1, -INFINITY}));
  CHECK_FALSE(all_finite(Floats{NAN, 1}));
}

}  // namespace distmnist
