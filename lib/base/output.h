// Standard output: the results of the program. A failed write is noted and becomes an error at the end.
#pragma once

#include <exception>
#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace distmnist {

// The reader of standard output has closed it, as head(1) does, and does not want the rest.
struct ReaderGone : std::exception {
  const char* what() const noexcept override { return "standard output: the reader has closed it"; }
};

// Writes a text in one piece and at once, because other processes may write to the same terminal or pipe. A failure is
// noted for check_output(). Thread-safe.
void write_output(std::string_view text);

// Throws Error (kResources) with the system's reason if something could not be written. Throws ReaderGone if standard
// output is a pipe whose reader has closed it.
void check_output();

// Writes part of the answer of a command that only answers. A failed write throws as check_output() does.
template <typename... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
  write_output(fmt::format(format, std::forward<Args>(args)...));
  check_output();
}

}  // namespace distmnist
