// Resident loop: local training that stays on the device. The host hands over many steps at a time, and waits for them
// only when it prints.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/worker/progress.h"
#include "lib/worker/step_loop.h"
#include "lib/worker/training.h"

namespace distmnist {

inline constexpr std::int64_t kLargestTurn = 100;  // steps handed over together

// The images must not be augmented, because the device has kept them. All arguments must outlive the loop.
std::unique_ptr<StepLoop> make_resident_loop(const TrainingConfig& config, const TrainingParts& parts,
                                             ResidentClient& client, Progress& progress);

}  // namespace distmnist
