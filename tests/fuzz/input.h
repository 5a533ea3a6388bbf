// Input: the fuzzer's bytes, read from the beginning. Past the end every value is 0, so a harness needs no checks, and
// a truncated input is still valid.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace distmnist::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(std::as_bytes(std::span(data, size))) {}

  bool empty() const { return left_.empty(); }

  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const auto value = static_cast<std::uint8_t>(left_.front());
    left_ = left_.subspan(1);
    return value;
  }
  bool flag() { return (byte() & 1) != 0; }
  // A number from 0 to count - 1; count is at most 256.
  std::size_t below(std::size_t count) { return byte() % count; }

  template <class T>
  T raw() {
    T value{};
    const auto bytes = take(sizeof value);
    if (!bytes.empty()) std::memcpy(static_cast<void*>(&value), bytes.data(), bytes.size());
    return value;
  }
  // Usually a small number in one byte. The largest byte values stand for numbers near a limit, or for 8 raw bytes.
  std::uint64_t number() {
    const std::uint8_t tag = byte();
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    switch (tag) {
      case 255:
        return raw<std::uint64_t>();
      case 254:
        return kMost;
      case 253:
        return kMost / 2;  // the largest signed number
      case 252:
        return kMost / 2 + 1;
      case 251:
        return std::uint64_t{1} << 32;
      case 250:
        return std::uint64_t{1} << 48;
      case 249:
        return raw<std::uint16_t>();
      default:
        return tag;
    }
  }
  std::int64_t signed_number() { return static_cast<std::int64_t>(number()); }

  // A float, including special values such as NaN.
  float real() {
    static constexpr float kInfinity = std::numeric_limits<float>::infinity();
    static constexpr float kReals[] = {0,      1,      -1,        0.5f,       -0.0f,
                                       1e15f,  -1e15f, 1.1e15f,   1e38f,      -1e38f,
                                       1e-30f, 1e-45f, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
    const std::size_t tag = below(std::size(kReals) + 1);
    return tag < std::size(kReals) ? kReals[tag] : raw<float>();
  }

  // This many bytes, or all that remain.
  std::span<const std::byte> take(std::size_t size) {
    const auto bytes = left_.first(std::min(size, left_.size()));
    left_ = left_.subspan(bytes.size());
    return bytes;
  }
  // A size in one byte (or, above 250, in two more bytes), and that many bytes.
  std::span<const std::byte> sized() {
    const std::uint8_t size = byte();
    return take(size > 250 ? raw<std::uint16_t>() : size);
  }
  std::span<const std::byte> rest() { return take(left_.size()); }
  std::string text() { return as_text(sized()); }

  static std::string as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> left_;
};

}  // namespace distmnist::fuzz
