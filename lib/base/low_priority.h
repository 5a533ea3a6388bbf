// yield_to_others: for threads whose work nobody waits for.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <exception>

#include "lib/base/log.h"

namespace distmnist {

// Leaves the cores to others, yet gets a tenth of a busy one: work of a fraction of a second still ends within seconds
// when the end of a short run waits for it.
inline constexpr int kBackgroundNiceness = 10;

// Lowers the priority of the calling thread alone (Linux gives each thread its own), for good. A system that refuses
// changes the speed only.
inline void yield_to_others() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kBackgroundNiceness);
}

// The body of a thread for work that the run can do without: `what` fails with a line in the log and nothing else.
template <typename Work>
void work_in_background(const char* what, const Work& work) {
  yield_to_others();
  try {
    work();
  } catch (const std::exception& error) {
    log_warning("{}: given up: {}", what, error.what());
  }
}

}  // namespace distmnist
