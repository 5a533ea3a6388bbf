// The reference backend: plain loops over doubles, one thread. Slow and simple, the oracle that the others are compared
// with.
#pragma once

#include <memory>
#include <vector>

#include "lib/backend/backend.h"

namespace distmnist {

// Its executors keep parameters and gradients in float and everything between in double; `threads` is ignored.
std::unique_ptr<Backend> make_reference_backend();

// From now on, gradients go where another executor's choices(), of the same graph and batch, let them pass; layers that
// are not among them choose themselves. `executor` is one of the reference backend's.
void force_choices(Executor& executor, std::vector<LayerChoices> choices);

}  // namespace distmnist
