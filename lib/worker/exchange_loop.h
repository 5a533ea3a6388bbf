// The loop of a replica whose parameters are elsewhere, if only in another part of this process: each step computes
// gradients from a batch, pushes them and pulls new parameters.
#pragma once

#include <memory>

#include "lib/worker/progress.h"
#include "lib/worker/step_loop.h"
#include "lib/worker/training.h"

namespace distmnist {

// All outlive it.
std::unique_ptr<StepLoop> make_exchange_loop(const TrainingConfig& config, const TrainingParts& parts,
                                             ParameterClient& client, Progress& progress);

}  // namespace distmnist
