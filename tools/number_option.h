// add_whole_number: flags that take whole numbers, and refuse what is none.
#pragma once

#include <charconv>
#include <string>
#include <type_traits>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace distmnist {

// A whole decimal number that fits T. CLI11 itself takes "-1" for an unsigned flag, and the nearest number for one that
// is too large.
template <typename T>
std::string whole_number_fault(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return fmt::format("'{}' is not {}", text,
                     std::is_unsigned_v<T> ? "a whole number from 0 up" : "a whole number in range");
}

template <typename T>
CLI::Option* add_whole_number(CLI::App& app, const std::string& name, T& value, const std::string& meaning) {
  return app.add_option(name, value, meaning)->check(whole_number_fault<T>, "")->capture_default_str();
}

}  // namespace distmnist
