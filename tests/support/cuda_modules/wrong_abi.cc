// A CUDA module with a later interface version. Its table only has the version, because the loader must not read more.
#include "lib/backend/cuda/module.h"
#include "lib/backend/module_abi.h"

extern "C" const distmnist::CudaModule* distmnist_cuda_module() {
  static const distmnist::CudaModule module{.abi_version = distmnist::kCudaModuleAbi + 1};
  return &module;
}
