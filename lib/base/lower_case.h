// lower_case: for words that are compared without regard to capitals.
#pragma once

#include <string>
#include <string_view>

namespace distmnist {

// ASCII letters only; every other byte stays as it is.
inline std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace distmnist
