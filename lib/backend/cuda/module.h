// What the CUDA module (libdistmnist_cuda.so) exports: one C function that returns this table.
#pragma once

#include <cstdint>

#include "lib/backend/backend.h"

namespace distmnist {

inline constexpr const char* kCudaModuleFile = "libdistmnist_cuda.so";
inline constexpr const char* kCudaModuleSymbol = "distmnist_cuda_module";

// Raised whenever this table, Backend, Executor or a type they mention changes: a module of another version is refused,
// for its virtual tables would not match.
inline constexpr std::uint32_t kCudaModuleAbi = 1;

struct CudaModule {
  std::uint32_t abi_version = 0;  // always first, so that every version can read it
  Backend* (*make_backend)() =
      nullptr;  // a new backend, owned by the caller; throws Error where there is no usable GPU
};

using CudaModuleFunction = const CudaModule* (*)();

}  // namespace distmnist
