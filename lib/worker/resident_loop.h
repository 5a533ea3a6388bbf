// The loop of local training that stays on the device: steps are handed over many at a time, and the host waits for
// them only where it prints.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/worker/progress.h"
#include "lib/worker/step_loop.h"
#include "lib/worker/training.h"

namespace distmnist {

inline constexpr std::int64_t kLargestTurn = 100;  // steps handed over together

// The images are not augmented: the device has kept them. All outlive it.
std::unique_ptr<StepLoop> make_resident_loop(const TrainingConfig& config, const TrainingParts& parts,
                                             ResidentClient& client, Progress& progress);

}  // namespace distmnist
