// Optimizer flags: the optimizer and learning rate flags, how they combine, and the optimizer they describe.
#pragma once

#include "lib/optim/optimizer.h"
#include "tools/flags.h"

namespace distmnist {

// Error (kUsage): a value out of range, or a flag that has no effect in combination with the others.
void check_optimizer_flags(const Flags& flags);

// The flags must have been checked. Momentum defaults to that of the optimizer, decay steps to the number of steps of
// the run.
OptimizerSpec optimizer_of(const Flags& flags);

}  // namespace distmnist
