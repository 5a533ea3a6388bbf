// The cpu backend: oneDNN, which chooses its code for the processor at run time.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace distmnist
