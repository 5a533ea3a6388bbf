#include "lib/wire/numbers.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lib/base/error.h"
#include "lib/math/half.h"
#include "lib/math/magnitudes.h"
#include "lib/math/mean.h"

namespace distmnist {
namespace {

constexpr std::uint16_t kLargestFiniteF16 = 0x7BFF;  // 65504

template <class T>
std::span<const T> view(std::span<const std::byte> bytes) {
  assert(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0);
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}
template <class T>
std::span<T> view(std::span<std::byte> bytes) {
  assert(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0);
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

[[noreturn]] void fail_without_numbers(WireDtype dtype) {
  fail(ExitCode::kInternal, "wire type {} is not a type of numbers", static_cast<int>(dtype));
}

}  // namespace

WireDtype parse_wire_dtype(std::string_view name) {
  for (const WireDtype dtype : {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16}) {
    if (name == to_string(dtype)) return dtype;
  }
  fail(ExitCode::kUsage, "--wire_dtype={}: choose f32, bf16 or f16", name);
}

std::string_view to_string(WireDtype dtype) {
  switch (dtype) {
    case WireDtype::kNone:
      return "none";
    case WireDtype::kRecord:
      return "record";
    case WireDtype::kF32:
      return "f32";
    case WireDtype::kBf16:
      return "bf16";
    case WireDtype::kF16:
      return "f16";
  }
  return "?";
}

std::span<const float> floats(const Numbers& numbers) {
  assert(numbers.dtype == WireDtype::kF32);
  return view<float>(numbers.bytes);
}

std::span<const std::uint16_t> halves(const Numbers& numbers) {
  assert(bytes_per_number(numbers.dtype) == sizeof(std::uint16_t));
  return view<std::uint16_t>(numbers.bytes);
}

bool may_be_applied(const Numbers& gradient) {
  switch (gradient.dtype) {
    case WireDtype::kF32:
      return all_within(view<float>(gradient.bytes), kLargestGradient);
    case WireDtype::kBf16:
      // The upper half of a float32's bits: their order is that of the numbers.
      return all_within(view<std::uint16_t>(gradient.bytes),
                        static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(kLargestGradient) >> 16));
    case WireDtype::kF16:
      return all_within(view<std::uint16_t>(gradient.bytes), kLargestFiniteF16);
    default:
      fail_without_numbers(gradient.dtype);
  }
}

std::optional<BadNumber> first_bad_number(const Numbers& gradient) {
  std::vector<float> floats(gradient.size());
  read_numbers(gradient, floats);
  const auto bad = std::ranges::find_if(floats, [](float number) { return !(std::abs(number) <= kLargestGradient); });
  if (bad == floats.end()) return std::nullopt;
  // fmt prints the sign of a nan, which has no meaning.
  const std::string text = std::isnan(*bad)   ? "nan"
                           : std::isinf(*bad) ? "infinity"
                                              : fmt::format("{:g} (beyond {:g})", *bad, kLargestGradient);
  return BadNumber{static_cast<std::size_t>(bad - floats.begin()), text};
}

void read_numbers(const Numbers& from, std::span<float> floats) {
  switch (from.dtype) {
    case WireDtype::kF32:
      std::ranges::copy(view<float>(from.bytes), floats.begin());
      return;
    case WireDtype::kBf16:
      return f32_from_bf16(view<std::uint16_t>(from.bytes), floats);
    case WireDtype::kF16:
      return f32_from_f16(view<std::uint16_t>(from.bytes), floats);
    default:
      fail_without_numbers(from.dtype);
  }
}

void add_numbers(const Numbers& from, std::span<float> sum) {
  switch (from.dtype) {
    case WireDtype::kF32:
      return add_f32(view<float>(from.bytes), sum);
    case WireDtype::kBf16:
      return add_bf16(view<std::uint16_t>(from.bytes), sum);
    case WireDtype::kF16:
      return add_f16(view<std::uint16_t>(from.bytes), sum);
    default:
      fail_without_numbers(from.dtype);
  }
}

void write_numbers(std::span<const float> floats, WireDtype dtype, std::span<std::byte> to) {
  switch (dtype) {
    case WireDtype::kF32:
      std::ranges::copy(floats, view<float>(to).begin());
      return;
    case WireDtype::kBf16:
      return bf16_from_f32(floats, view<std::uint16_t>(to));
    case WireDtype::kF16:
      return f16_from_f32(floats, view<std::uint16_t>(to));
    default:
      fail_without_numbers(dtype);
  }
}

}  // namespace distmnist
