// Replication flags: derive the strategy of a run from the flags.
#pragma once

#include <cstdint>

#include "lib/ps/records/strategy.h"
#include "tools/flags.h"

namespace distmnist {

// Error (kUsage) if replication flags conflict or have invalid values.
void check_replication(const Flags& flags);

// `warmup_steps`: the value of --warmup_steps, or --warmup_epochs in steps.
Strategy strategy_of(const Flags& flags, std::uint32_t num_workers, std::int64_t warmup_steps);

}  // namespace distmnist
