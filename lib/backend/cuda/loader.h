// Loads the CUDA backend at run time, so that a program that never touches a GPU never loads the CUDA libraries.
#pragma once

#include <string>

#include "lib/backend/cuda/module.h"

namespace distmnist {

// Opens libdistmnist_cuda.so in `folder` (if it is not empty) and then in the dynamic linker's own places. The module
// stays loaded until the process ends: its code outlives every executor. Error (kUsage) when no module is found, or the
// one that is found lacks the entry point or is of another version.
const CudaModule& load_cuda_module(const std::string& folder = {});

}  // namespace distmnist
