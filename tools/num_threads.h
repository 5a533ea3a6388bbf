// How many threads a task computes on.
#pragma once

#include <algorithm>

#include "tools/environment.h"
#include "tools/flags.h"

namespace distmnist {

// --intra_op_parallelism_threads, else this host's cores divided by the tasks that share them, at least 1.
inline int num_threads(const Flags& flags, int num_sharing_cores) {
  if (flags.intra_op_parallelism_threads > 0) return flags.intra_op_parallelism_threads;
  return std::max(1, num_cores() / num_sharing_cores);
}

}  // namespace distmnist
