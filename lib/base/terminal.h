// Terminal: output to a terminal that other processes write to as well.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstddef>
#include <string_view>

namespace distmnist {

// The text to begin a line on `fd` with. On a terminal, a task of the cluster may have left its progress line there,
// which has no line break: this erases it, and it soon appears again. Empty if `fd` is not a terminal.
inline std::string_view line_start(int fd) {
  return isatty(fd) != 0 ? "\r\033[K" : "";
}

// The width of the terminal, for lines that are rewritten: a line that wraps cannot be. 0: unknown.
inline std::size_t terminal_columns(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace distmnist
