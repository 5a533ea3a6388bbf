// Local server: a whole cluster as threads of this process, over inproc. The rules are those of real processes.
#pragma once

#include "tools/worker.h"

namespace distmnist {

// Runs flags.num_ps parameter servers and flags.num_workers workers to the end. The first error of a task stops the
// others; its exit code is the process's.
ExitCode run_local_server(const Job& job);

}  // namespace distmnist
