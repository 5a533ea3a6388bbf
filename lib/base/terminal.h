// What is written to a terminal that others write to as well.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstddef>
#include <string_view>

namespace distmnist {

// What a line on `fd` begins with. On a terminal, some task of the cluster may have left its progress line there, which
// ends without a line break: it is wiped, and shown again soon. Nothing elsewhere.
inline std::string_view line_start(int fd) {
  return isatty(fd) != 0 ? "\r\033[K" : "";
}

// The width of the terminal, for lines that are rewritten: one that wraps cannot be. 0: not known.
inline std::size_t terminal_columns(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace distmnist
