// The cpu backend: built-in kernels where they fit a layer, else oneDNN. Both choose their code for the processor at
// run time.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

// Error (kUsage) for an instruction set that the processor has not.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});

}  // namespace distmnist
