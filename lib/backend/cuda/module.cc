#include "lib/backend/cuda/module.h"

#include "lib/backend/cuda/cuda_backend.h"
#include "lib/backend/module_abi.h"

// The module's only symbol.
extern "C" __attribute__((visibility("default"))) const distmnist::CudaModule* distmnist_cuda_module() {
  static const distmnist::CudaModule module{.abi_version = distmnist::kCudaModuleAbi,
                                            .inspect = distmnist::cuda::inspect_gpus,
                                            .make_backend = +[](const distmnist::GpuOptions& options) {
                                              return distmnist::cuda::make_cuda_backend(options).release();
                                            }};
  return &module;
}
