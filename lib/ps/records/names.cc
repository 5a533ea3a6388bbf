#include "lib/ps/records/names.h"

#include <algorithm>

#include <fmt/core.h>

namespace distmnist {

bool is_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-' || c == '/';
  };
  return !text.empty() && text.size() <= kMaxNameBytes && std::ranges::all_of(text, allowed);
}

bool is_container_name(std::string_view text) {
  return text.empty() || is_name(text);
}

std::string name_rule() {
  return fmt::format("a name is 1 to {} letters, digits and . _ - /", kMaxNameBytes);
}

std::string container_title(std::string_view name) {
  return name.empty() ? "the default container" : fmt::format("container '{}'", name);
}

std::string task_name(std::uint32_t worker) {
  return fmt::format("worker:{}", worker);
}

}  // namespace distmnist
