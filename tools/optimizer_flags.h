// The flags of the optimizer and of the learning rate: which go together, and what they make.
#pragma once

#include "lib/optim/optimizer.h"
#include "tools/flags.h"

namespace distmnist {

// Error (kUsage): a value out of range, or a flag that would have no effect with the others.
void check_optimizer_flags(const Flags& flags);

// Of flags that have been checked. A momentum that is not given is the optimizer's default, decay steps that are not
// given are the steps of the run.
OptimizerSpec optimizer_of(const Flags& flags);

}  // namespace distmnist
