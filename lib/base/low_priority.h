// yield_to_others: for threads whose work nobody waits for.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

namespace distmnist {

// Leaves the cores to others, yet gets a tenth of a busy one: work of a fraction of a second still ends within seconds
// when the end of a short run waits for it.
inline constexpr int kBackgroundNiceness = 10;

// Lowers the priority of the calling thread alone (Linux gives each thread its own), for good. A system that refuses
// changes the speed only.
inline void yield_to_others() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kBackgroundNiceness);
}

}  // namespace distmnist
