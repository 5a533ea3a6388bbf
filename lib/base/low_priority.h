// work_in_background: for threads whose work nobody waits for.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <exception>

#include "lib/base/log.h"

namespace distmnist {

// Leaves the cores to others, yet gets a tenth of a busy one: work of a fraction of a second still ends within seconds
// when the end of a short run waits for it.
inline constexpr int kBackgroundNiceness = 10;

// The body of a thread: does `work` at a low priority of this thread alone (Linux gives each thread its own). A system
// that refuses changes the speed only. The run can do without the work: an exception is a line in the log that says
// `what` was given up, and nothing else.
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
