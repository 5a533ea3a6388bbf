#include "lib/math/half.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "lib/base/random.h"
#include "lib/math/simd.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;
using Halves = std::vector<std::uint16_t>;

// A 16-bit format: one sign bit, `exponent_bits` of exponent, the rest is the fraction.
struct Format {
  const char* name;
  int exponent_bits;
  decltype(&bf16_from_f32) from_f32, from_f32_portable;
  decltype(&f32_from_bf16) to_f32, to_f32_portable, add, add_portable;

  int fraction_bits() const { return 15 - exponent_bits; }
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  std::uint16_t infinity() const { return static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << fraction_bits()); }
};
const Format kFormats[] = {
    {"bf16", 8, bf16_from_f32, bf16_from_f32_portable, f32_from_bf16, f32_from_bf16_portable, add_bf16,
     add_bf16_portable},
    {"f16", 5, f16_from_f32, f16_from_f32_portable, f32_from_f16, f32_from_f16_portable, add_f16, add_f16_portable}};

bool is_nan(const Format& format, std::uint16_t half) {
  return (half & 0x7FFF) > format.infinity();
}

// The formula of IEEE 754 in double precision, without infinity and NaN.
double value_by_definition(const Format& format, std::uint16_t half) {
  const int fraction = half & ((1 << format.fraction_bits()) - 1);
  const int exponent = (half & 0x7FFF) >> format.fraction_bits();
  const int significand = exponent == 0 ? fraction : fraction + (1 << format.fraction_bits());
  const double magnitude = std::ldexp(significand, std::max(exponent, 1) - format.bias() - format.fraction_bits());
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

// The nearest half with the same sign, found by search. The input is not NaN.
std::uint16_t nearest_by_definition(const Format& format, float number) {
  const std::uint16_t sign = std::signbit(number) ? 0x8000 : 0;
  const double magnitude = std::abs(static_cast<double>(number));
  std::uint16_t low = 0, high = format.infinity();  // low <= magnitude, and high is above it or infinity
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (value_by_definition(format, middle) <= magnitude ? low : high) = middle;
  }
  // Infinity takes the place of the next number.
  const double below = value_by_definition(format, low), above = value_by_definition(format, high);
  const bool up = magnitude - below > above - magnitude || (magnitude - below == above - magnitude && low % 2 == 1);
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

Halves all_halves() {
  Halves out(65536);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint16_t>(i);
  return out;
}

// Each half, its float32 neighbours, the ties between adjacent halves with their neighbours, and random bits.
Floats interesting_floats(const Format& format) {
  Floats out;
  const auto with_neighbours = [&](double value) {
    const auto number = static_cast<float>(value);
    for (const float each : {std::nextafter(number, -INFINITY), number, std::nextafter(number, INFINITY)}) {
      out.push_back(each);
      out.push_back(-each);
    }
  };
  for (std::uint16_t half = 0; half < format.infinity(); ++half) {
    const double here = value_by_definition(format, half);
    with_neighbours(here);
    with_neighbours((here + value_by_definition(format, static_cast<std::uint16_t>(half + 1))) / 2);
  }
  for (const float each : {INFINITY, std::numeric_limits<float>::max(), std::numeric_limits<float>::min(),
                           std::numeric_limits<float>::denorm_min(), 65504.0f, 65519.99f, 65520.0f, 65536.0f, 1e5f}) {
    with_neighbours(each);
  }
  Random random(1, 2);
  for (int i = 0; i < 300'000; ++i) {
    const auto number = std::bit_cast<float>(static_cast<std::uint32_t>(random.next()));
    if (!std::isnan(number)) out.push_back(number);
  }
  return out;
}

Halves rounded(decltype(&bf16_from_f32) convert, const Floats& from) {
  Halves to(from.size());
  convert(from, to);
  return to;
}
std::vector<std::uint32_t> widened(decltype(&f32_from_bf16) convert, const Halves& from) {
  Floats to(from.size());
  convert(from, to);
  std::vector<std::uint32_t> bits(to.size());
  std::memcpy(bits.data(), to.data(), to.size() * sizeof(float));
  return bits;
}

}  // namespace

TEST_CASE("every half converts to the float that it represents") {
  for (const Format& format : kFormats) {
    CAPTURE(format.name);
    const Halves halves = all_halves();
    const auto bits = widened(format.to_f32, halves);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      const auto number = std::bit_cast<float>(bits[i]);
      const bool negative = (halves[i] & 0x8000) != 0;
      if (is_nan(format, halves[i])) {
        REQUIRE(std::isnan(number));
      } else if ((halves[i] & 0x7FFF) == format.infinity()) {
        REQUIRE(number == (negative ? -INFINITY : INFINITY));
      } else {
        REQUIRE(number == value_by_definition(format, halves[i]));
        REQUIRE(std::signbit(number) == negative);
      }
    }
  }
}

TEST_CASE("every half survives the conversion to float and back, NaN as NaN") {
  for (const Format& format : kFormats) {
    CAPTURE(format.name);
    const Halves halves = all_halves();
    Floats floats(halves.size());
    format.to_f32(halves, floats);
    const Halves back = rounded(format.from_f32, floats);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      REQUIRE((is_nan(format, halves[i]) ? is_nan(format, back[i]) : back[i] == halves[i]));
    }
  }
}

TEST_CASE("a float is rounded to the nearest half, to the even one in a tie, and to infinity if it is too large") {
  for (const Format& format : kFormats) {
    CAPTURE(format.name);
    const Floats floats = interesting_floats(format);
    const Halves halves = rounded(format.from_f32, floats);
    for (std::size_t i = 0; i < floats.size(); ++i) {
      CAPTURE(floats[i]);
      const std::uint16_t expected = std::isinf(floats[i])
                                         ? static_cast<std::uint16_t>(format.infinity() | (floats[i] < 0 ? 0x8000 : 0))
                                         : nearest_by_definition(format, floats[i]);
      if (halves[i] != expected) REQUIRE(halves[i] == expected);
    }
  }
  CHECK(rounded(f16_from_f32, {65519.0f, 65520.0f, -65520.0f}) == Halves{0x7BFF, 0x7C00, 0xFC00});
}

TEST_CASE("a NaN with any payload stays NaN") {
  for (const Format& format : kFormats) {
    CAPTURE(format.name);
    for (std::uint32_t payload = 1; payload < 0x800000; payload = payload * 2 + payload % 3) {
      for (const std::uint32_t sign : {0u, 0x80000000u}) {
        const Halves half = rounded(format.from_f32, {std::bit_cast<float>(sign | 0x7F800000 | payload)});
        REQUIRE(is_nan(format, half[0]));
        REQUIRE((half[0] & 0x8000) == sign >> 16);
      }
    }
  }
}

TEST_CASE("special and portable instructions give the same bits, with and without denormals") {
  for (const Format& format : kFormats) {
    CAPTURE(format.name);
    Floats floats = interesting_floats(format);
    for (const std::uint32_t nan : {0x7F800001u, 0xFFC12345u}) floats.push_back(std::bit_cast<float>(nan));
    const Halves halves = rounded(format.from_f32, floats);
    CHECK(halves == rounded(format.from_f32_portable, floats));
    const auto wide = widened(format.to_f32, all_halves());
    CHECK(wide == widened(format.to_f32_portable, all_halves()));
    const ScopedFlushDenormals flush_denormals;
    CHECK(halves == rounded(format.from_f32, floats));
    CHECK(wide == widened(format.to_f32, all_halves()));
  }
}

TEST_CASE("halves are added to floats as the floats that they represent, in pieces or whole") {
  for (const Format& format : kFormats) {
    CAPTURE(format.name);
    Random random(3, 4);
    Floats addends(1003), sum(1003);
    for (float& each : addends) each = random.uniform() - 0.5f;
    for (float& each : sum) each = random.uniform();
    const Halves halves = rounded(format.from_f32, addends);
    Floats widened_halves(halves.size()), expected = sum;
    format.to_f32(halves, widened_halves);
    for (std::size_t i = 0; i < sum.size(); ++i) expected[i] += widened_halves[i];
    Floats portable = sum, pieces = sum;
    format.add(halves, sum);
    format.add_portable(halves, portable);
    for (std::size_t i = 0; i < pieces.size(); i += 17) {
      const std::size_t size = std::min<std::size_t>(17, pieces.size() - i);
      format.add(std::span(halves).subspan(i, size), std::span(pieces).subspan(i, size));
    }
    CHECK(sum == expected);
    CHECK(portable == expected);
    CHECK(pieces == expected);
  }
}

}  // namespace distmnist
