// Loads the CUDA backend at run time, so that a program that never touches a GPU never loads the CUDA libraries.
#pragma once

#include <memory>
#include <string>

#include "lib/backend/backend.h"

namespace distmnist {

// Opens libdistmnist_cuda.so in `folder` (if it is not empty) and then in the dynamic linker's own places, and makes
// its backend. The module stays loaded until the process ends: its code outlives every executor. Error (kUsage) when no
// module is found, or the one that is found lacks the entry point or is of another version.
std::unique_ptr<Backend> load_cuda_backend(const std::string& folder = {});

}  // namespace distmnist
