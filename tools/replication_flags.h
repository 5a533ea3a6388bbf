// From the flags to the strategy of a run.
#pragma once

#include <cstdint>

#include "lib/ps/records/strategy.h"
#include "tools/flags.h"

namespace distmnist {

// Error (kUsage) where flags of replication do not go together or have impossible values.
void check_replication(const Flags& flags);

// `warmup_steps`: what --warmup_steps or --warmup_epochs come to.
Strategy strategy_of(const Flags& flags, std::uint32_t num_workers, std::int64_t warmup_steps);

}  // namespace distmnist
