// Number of threads: how many compute threads a task uses.
#pragma once

#include <algorithm>

#include "tools/environment.h"
#include "tools/flags.h"

namespace distmnist {

// --intra_op_parallelism_threads, else OMP_NUM_THREADS, else the number of cores that this process may use divided by
// the number of tasks that share them; at least 1.
inline int num_threads(const Flags& flags, int num_sharing_cores) {
  if (flags.devices.intra_op_parallelism_threads > 0) return flags.devices.intra_op_parallelism_threads;
  if (const int given = omp_num_threads(); given > 0) return given;
  return std::max(1, num_cores() / num_sharing_cores);
}

}  // namespace distmnist
