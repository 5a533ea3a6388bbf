// Runs the CUDA backend on CUDA's stand-in, on every machine that has the toolkit.
#include "lib/backend/cuda/cuda_backend.h"

#include "lib/backend/cuda/inspect.h"
#include "tests/lib/backend/cuda/cuda_cases.h"

namespace distmnist {

std::unique_ptr<Backend> make_backend_under_test(const GpuOptions& options) {
  return cuda::make_cuda_backend(options);
}

int num_devices_under_test() {
  return cuda::count_gpus();
}

}  // namespace distmnist
