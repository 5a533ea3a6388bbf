// counted: a number with its noun, for messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/core.h>

namespace distmnist {

// "1 thread", "2 threads", "0 threads". For nouns whose plural ends in s.
inline std::string counted(std::int64_t number, std::string_view noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

}  // namespace distmnist
