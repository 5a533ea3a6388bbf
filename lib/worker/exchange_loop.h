// Exchange loop: the loop of a replica whose parameters are in another process or in another part of this one. Each
// step computes gradients from a batch, pushes them and pulls new parameters.
#pragma once

#include <memory>

#include "lib/worker/progress.h"
#include "lib/worker/step_loop.h"
#include "lib/worker/training.h"

namespace distmnist {

// All arguments must outlive the loop.
std::unique_ptr<StepLoop> make_exchange_loop(const TrainingConfig& config, const TrainingParts& parts,
                                             ParameterClient& client, Progress& progress);

}  // namespace distmnist
