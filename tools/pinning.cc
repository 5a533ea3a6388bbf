#include "tools/pinning.h"

#include <sched.h>

#include <cassert>

namespace distmnist {

std::vector<int> usable_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::vector<int> cores_of_worker(const std::vector<int>& usable, int workers, int place, int threads) {
  assert(workers >= 1 && place >= 0 && place < workers && threads >= 1);
  const auto cores = static_cast<long long>(usable.size());
  const bool fit = static_cast<long long>(workers) * threads <= cores;
  const bool fill = static_cast<long long>(workers) * (threads + 1) > cores;
  if (workers == 1 || !fit || !fill) return {};
  const auto first = usable.begin() + static_cast<std::ptrdiff_t>(place) * threads;
  return {first, first + threads};
}

bool pin_thread(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace distmnist
