// From the flags to the strategy of a run.
#pragma once

#include <cstdint>
#include <string>

#include "lib/ps/records/control.h"
#include "lib/ps/records/strategy.h"
#include "tools/flags.h"

namespace distmnist {

// Of --on_nan. Error (kUsage).
OnNan parse_on_nan(const std::string& text);

// Error (kUsage) where flags of replication do not go together or have impossible values.
void check_replication(const Flags& flags);

// `warmup_steps`: what --warmup_steps or --warmup_epochs come to.
Strategy strategy_of(const Flags& flags, std::uint32_t num_workers, std::int64_t warmup_steps);

// The part of config.toml that is about replication; only what differs from the defaults.
std::string replication_to_toml(const Flags& flags);

// The part of the fingerprint that is about it.
Fingerprint replication_fingerprint(const Flags& flags);

}  // namespace distmnist
