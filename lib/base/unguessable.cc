#include "lib/base/unguessable.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "lib/base/error.h"

namespace distmnist {

std::uint64_t unguessable_number() {
  std::uint64_t number = 0;
  while (number == 0) {
    // Up to 256 bytes are returned completely or not at all. Only at boot does the call block, and a signal may
    // interrupt it.
    const ssize_t got = getrandom(&number, sizeof number, 0);
    if (got == sizeof number) continue;
    number = 0;
    if (got < 0 && errno != EINTR)
      fail(ExitCode::kInternal, "the kernel does not provide random numbers: {}", std::strerror(errno));
  }
  return number;
}

}  // namespace distmnist
