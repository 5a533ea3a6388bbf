#include "lib/base/output.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace distmnist {
namespace {

std::atomic<int> first_error = 0;  // of errno

// A different process that shares the terminal or pipe may have made it non-blocking.
bool wait_until_writable() {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  return poll(&output, 1, -1) > 0 || errno == EINTR;
}

}  // namespace

void write_output(std::string_view text) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  while (!text.empty() && first_error == 0) {
    const ssize_t done = ::write(STDOUT_FILENO, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EAGAIN && wait_until_writable()) continue;
    if (done < 0) {
      first_error = errno;
    } else {
      text.remove_prefix(static_cast<std::size_t>(done));
    }
  }
}

void check_output() {
  const int error = first_error;
  if (error == 0) return;
  if (error == EPIPE) throw ReaderGone();
  fail(ExitCode::kResources, "standard output: {}; not all results were written",
       error == EBADF ? "it is closed" : errno_text(error));
}

}  // namespace distmnist
