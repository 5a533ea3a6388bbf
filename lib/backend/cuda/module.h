// What the CUDA module (libdistmnist_cuda.so) exports: one C function that returns this table.
#pragma once

#include <cstdint>

#include "lib/backend/backend.h"
#include "lib/backend/gpu_system.h"

namespace distmnist {

inline constexpr const char* kCudaModuleFile = "libdistmnist_cuda.so";
inline constexpr const char* kCudaModuleSymbol = "distmnist_cuda_module";

struct CudaModule {
  // kCudaModuleAbi of the module (lib/backend/module_abi.h, which the build makes): with a different one than the
  // program's its virtual tables would not match. Always first, so that every version can read it.
  std::uint32_t abi_version = 0;
  // What is there; never throws for a missing GPU or driver, but says so.
  GpuSystem (*inspect)() = nullptr;
  // A new backend, owned by the caller. Error (kUsage) where a device is not there or not usable, kResources where its
  // share of memory is not to be had.
  Backend* (*make_backend)(const GpuOptions&) = nullptr;
};

using CudaModuleFunction = const CudaModule* (*)();

}  // namespace distmnist
