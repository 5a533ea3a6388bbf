// Local server: a whole cluster as threads of this process, connected over inproc, with the rules of real processes.
#pragma once

#include <vector>

#include "tools/worker.h"

namespace distmnist {

// Runs num_ps parameter servers and one worker for each of `workers` (its flags, which differ only in the device) until
// they finish. The first error of a task stops the others, and its exit code is that of the process.
ExitCode run_local_server(const Job& job, int num_ps, const std::vector<Flags>& workers);

}  // namespace distmnist
