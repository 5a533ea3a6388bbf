// Which cores a worker's threads run on.
#pragma once

#include <vector>

namespace distmnist {

// The cores that this thread may run on, in order.
std::vector<int> usable_cores();

// Of `workers` workers on one host, each with so many threads: the cores of the one at `place` (from 0), none of them
// another one's. None where there is nobody to keep apart from, where there are not enough cores for all, or where each
// could have one more: then another job on this host could be pinned to the same cores while others are idle.
std::vector<int> cores_of_worker(const std::vector<int>& usable, int workers, int place, int threads);

// The calling thread, and the threads that it starts from now on, run on these cores only. False where the system does
// not let it.
bool pin_thread(const std::vector<int>& cores);

}  // namespace distmnist
