// The reference backend: plain loops over doubles, one thread. Slow and simple, the oracle that the others are compared
// with.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

// Its executors keep parameters and gradients in float and everything between in double; `threads` is ignored.
std::unique_ptr<Backend> make_reference_backend();

}  // namespace distmnist
