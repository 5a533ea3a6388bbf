// Numbers: the numbers in payloads: float32, bfloat16 or IEEE float16. Arithmetic uses float32 only.
// lib/math/half.h defines the conversions and their rounding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/wire/header.h"

namespace distmnist {

constexpr bool is_number(WireDtype dtype) {
  return dtype == WireDtype::kF32 || dtype == WireDtype::kBf16 || dtype == WireDtype::kF16;
}
// For a number type.
constexpr std::size_t bytes_per_number(WireDtype dtype) {
  return dtype == WireDtype::kF32 ? 4 : 2;
}

// "f32", "bf16", "f16". Throws Error (kUsage), which lists the known names.
WireDtype parse_wire_dtype(std::string_view name);
std::string_view to_string(WireDtype dtype);

// Numbers in place, aligned for their type.
struct Numbers {
  WireDtype dtype = WireDtype::kF32;
  std::span<const std::byte> bytes;

  std::size_t size() const { return bytes.size() / bytes_per_number(dtype); }
  Numbers slice(std::size_t offset, std::size_t count) const {
    return {dtype, bytes.subspan(offset * bytes_per_number(dtype), count * bytes_per_number(dtype))};
  }
};

inline Numbers numbers_of(std::span<const float> floats) {
  return {WireDtype::kF32, std::as_bytes(floats)};
}
// The numbers as they are in memory: of float32; of a type with 16 bits.
std::span<const float> floats(const Numbers& numbers);
std::span<const std::uint16_t> halves(const Numbers& numbers);

// The largest magnitude of a gradient that may be applied. Optimizers keep sums and means of squares. From 1.8e19 on,
// one square is infinite, and the kept value would stay infinite forever. The sum of 340 million squares of 1e15 is
// finite.
inline constexpr float kLargestGradient = 1e15f;

// Whether all of a gradient's numbers may be applied: finite, and none above kLargestGradient.
bool may_be_applied(const Numbers& gradient);

// The first number that must not be applied: its index, and "nan", "infinity" or "1e+22 (beyond 1e+15)". Empty if all
// may be.
struct BadNumber {
  std::size_t index = 0;
  std::string text;
};
std::optional<BadNumber> first_bad_number(const Numbers& gradient);

// Converts numbers to float32. `floats` has the same length as `from`.
void read_numbers(const Numbers& from, std::span<float> floats);
// sum[i] += from[i], in float32.
void add_numbers(const Numbers& from, std::span<float> sum);
// Writes `floats` as numbers of `dtype`. `to` has the same length, and is aligned for them.
void write_numbers(std::span<const float> floats, WireDtype dtype, std::span<std::byte> to);

}  // namespace distmnist
