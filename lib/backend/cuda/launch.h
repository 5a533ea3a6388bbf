// launch(): starts a kernel. The same kernel sources are compiled twice: by nvcc for GPUs, and by the host compiler for
// the tests, where tests/support/cuda_on_host executes them thread by thread.
#pragma once

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include "lib/backend/cuda/check.h"

namespace distmnist::cuda {

// Enqueues `kernel` with `grid` blocks of `block` threads. Errors of check().
template <typename... Parameters, typename... Arguments>
void launch(cudaStream_t stream, dim3 grid, dim3 block, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "start a kernel");
}

}  // namespace distmnist::cuda

#else
#include <cuda_on_host/launch.h>
#endif
