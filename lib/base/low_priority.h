// work_in_background: runs work that no other thread waits for.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <exception>

#include "lib/base/log.h"

namespace distmnist {

// Leaves the cores to other threads but still gets a tenth of a busy one: work of a fraction of a second ends within
// seconds even if the end of a short run waits for it.
inline constexpr int kBackgroundNiceness = 10;

// The body of a thread: does `work` at low priority for this thread only (Linux has one priority for each thread). If
// the system refuses, only the speed changes. The run does not depend on the work: an exception only causes a log line
// that says that `what` was given up.
template <typename Work>
void work_in_background(const char* what, const Work& work) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kBackgroundNiceness);
  try {
    work();
  } catch (const std::exception& error) {
    log_warning("gave up {}: {}", what, error.what());
  }
}

}  // namespace distmnist
