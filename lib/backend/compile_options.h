// Compile checks: the checks of the arguments of compile() that all backends share.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"

namespace distmnist {

inline constexpr std::int64_t kMaxBatchSize = 1'000'000;
inline constexpr int kMaxThreads = 1024;

// Error (kUsage) if an option is out of range or the graph is empty.
void check_options(const Graph& graph, const CompileOptions& options);

// Error (kUsage) with the first layer that has no kernel in this backend and precision.
void check_layers(const Backend& backend, const Graph& graph, Precision precision);

}  // namespace distmnist
