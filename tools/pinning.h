// Pinning: assigns cores to a worker's threads.
#pragma once

#include <vector>

namespace distmnist {

// The cores that this thread may run on, in ascending order.
std::vector<int> usable_cores();

// For `workers` workers on one host with `threads` threads each: the cores of the worker at `place` (from 0). The
// workers' cores do not overlap. Returns none if there is only one worker, if there are too few cores, or if there are
// enough for one more thread per worker: in that case a different job on this host could be pinned to the same cores
// while others are idle.
std::vector<int> cores_of_worker(const std::vector<int>& usable, int workers, int place, int threads);

// Restricts the calling thread, and the threads it starts later, to these cores. Returns false if the system refuses.
bool pin_thread(const std::vector<int>& cores);

}  // namespace distmnist
