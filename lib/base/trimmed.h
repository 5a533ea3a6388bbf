// trimmed: a text without the blanks around it.
#pragma once

#include <string_view>

namespace distmnist {

// What separates words, the ends of lines included.
inline constexpr std::string_view kBlanks = " \t\r\n";

// A part of `text`; empty where there is nothing but blanks.
inline std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace distmnist
