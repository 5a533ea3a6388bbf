// join: concatenates texts with a separator, for messages.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace distmnist {

// join({"a", "b"}, ", ") is "a, b". (fmt::join does the same, but gcc 12 warns about the library's internals wherever
// it joins strings.)
inline std::string join(std::span<const std::string> texts, std::string_view separator) {
  std::string result;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) result += separator;
    result += texts[i];
  }
  return result;
}

}  // namespace distmnist
