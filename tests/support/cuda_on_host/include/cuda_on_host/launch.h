// Replaces nvcc's language extensions when the host's compiler compiles a kernel: launch() enqueues the kernel on one
// of the stand-in's streams, and the device functions are implemented below. Include it last.
#pragma once

#include <functional>
#include <tuple>

#include "lib/backend/cuda/check.h"

#include "tests/support/cuda_on_host/include/cuda_on_host/device_functions.h"

namespace cuda_on_host {

// Enqueues a kernel whose threads each call `thread`. Returns the errors of cudaLaunchKernel.
cudaError_t enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::function<void()> thread);

}  // namespace cuda_on_host

namespace distmnist::cuda {

// Works like launch() in lib/backend/cuda/launch.h.
template <typename... Parameters, typename... Arguments>
void launch(cudaStream_t stream, dim3 grid, dim3 block, void (*kernel)(Parameters...), Arguments... arguments) {
  check(cuda_on_host::enqueue_kernel(stream, grid, block,
                                     [kernel, parameters = std::tuple<Parameters...>(Parameters(arguments)...)] {
                                       std::apply(kernel, parameters);
                                     }),
        "start a kernel");
}

}  // namespace distmnist::cuda
