// join: concatenates texts for messages.
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

// join_choices({"a", "b", "c"}) is "a, b or c".
inline std::string join_choices(std::span<const std::string> texts) {
  if (texts.size() < 2) return join(texts, "");
  return join(texts.first(texts.size() - 1), ", ") + " or " + texts.back();
}

}  // namespace distmnist
