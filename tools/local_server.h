// Local server: a whole cluster as threads of this process, over inproc. The rules are those of real processes.
#pragma once

#include <vector>

#include "tools/worker.h"

namespace distmnist {

// Runs num_ps parameter servers and a worker for each of `workers` (the flags of each, equal but for its device) to the
// end. The first error of a task stops the others; its exit code is the process's.
ExitCode run_local_server(const Job& job, int num_ps, const std::vector<Flags>& workers);

}  // namespace distmnist
