// trimmed: a text without leading and trailing blanks.
#pragma once

#include <string_view>

namespace distmnist {

// The characters that separate words, including line ends.
inline constexpr std::string_view kBlanks = " \t\r\n";

// A view into `text`; empty if there are only blanks.
inline std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace distmnist
