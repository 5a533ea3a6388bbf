// The backend that the module exports.
#pragma once

#include <memory>

#include "lib/backend/backend.h"
#include "lib/backend/gpu_system.h"

namespace distmnist::cuda {

// As CudaModule says.
GpuSystem inspect_gpus();
std::unique_ptr<Backend> make_cuda_backend(const GpuOptions& options);

}  // namespace distmnist::cuda
