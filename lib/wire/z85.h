// Z85: 32 bytes as 40 printable characters (rfc.zeromq.org 32), five for every four bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/wire/keys.h"

namespace distmnist {

inline constexpr std::string_view kZ85Digits =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
static_assert(kZ85Digits.size() == 85);

inline constexpr std::size_t kZ85KeyChars = kKeyBytes / 4 * 5;

inline void encode_z85(const Key& key, std::array<char, kZ85KeyChars>& chars) {
  for (std::size_t group = 0; group < kKeyBytes / 4; ++group) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | key[4 * group + i];
    for (std::size_t i = 5; i-- > 0; value /= 85) chars[5 * group + i] = kZ85Digits[value % 85];
  }
}

// False if the text is not exactly a key; `key` is then unspecified.
inline bool decode_z85(std::string_view chars, Key& key) {
  if (chars.size() != kZ85KeyChars) return false;
  for (std::size_t group = 0; group < kKeyBytes / 4; ++group) {
    std::uint64_t value = 0;
    for (const char c : chars.substr(5 * group, 5)) {
      const std::size_t digit = kZ85Digits.find(c);
      if (digit == kZ85Digits.npos) return false;
      value = value * 85 + digit;
    }
    if (value > UINT32_MAX) return false;
    for (std::size_t i = 4; i-- > 0; value >>= 8) key[4 * group + i] = static_cast<std::uint8_t>(value);
  }
  return true;
}

}  // namespace distmnist
