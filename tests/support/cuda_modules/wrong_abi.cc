// A CUDA module of a later interface. Its table holds nothing but the version, as the loader must look no further.
#include "lib/backend/cuda/module.h"
#include "lib/backend/module_abi.h"

extern "C" const distmnist::CudaModule* distmnist_cuda_module() {
  static const distmnist::CudaModule module{.abi_version = distmnist::kCudaModuleAbi + 1};
  return &module;
}
