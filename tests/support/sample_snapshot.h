// A snapshot of a small model with numbers that depend on the step, so that a reader can recognize which one it got.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/supervisor/model_snapshot.h"

namespace distmnist {

inline ModelIdentity sample_identity() {
  return {.model = "tiny",
          .graph = "input [1, 1, 4]; fully_connected 3 relu; fully_connected 2",
          .variables = {{.name = "fc1/weights", .shape = {3, 4}, .range = {0, 12}},
                        {.name = "fc1/biases", .shape = {3}, .range = {12, 3}},
                        {.name = "pred/weights", .shape = {2, 3}, .range = {15, 6}},
                        {.name = "pred/biases", .shape = {2}, .range = {21, 2}}},
          .optimizer = {.kind = OptimizerKind::kAdam, .learning_rate = 3e-4f}};
}

inline std::vector<float> sample_block(std::size_t size, float first) {
  std::vector<float> block(size);
  for (std::size_t i = 0; i < size; ++i) block[i] = first + 0.25f * static_cast<float>(i);
  return block;
}

inline ModelSnapshot sample_snapshot(std::int64_t global_step, ModelIdentity identity = sample_identity()) {
  const auto size = static_cast<std::size_t>(identity.variables.back().range.end());
  ModelSnapshot snapshot;
  snapshot.global_step = global_step;
  snapshot.run_id = 0xFEDCBA9876543210;
  snapshot.seed = 18446744073709551615U;
  snapshot.consumed_samples = {{0, global_step / 2}, {2, global_step - global_step / 2}};
  snapshot.tool_version = "0.1.0";
  snapshot.config = "batch_size = 50\nlog_dir = \"a \\\"quoted\\\" folder\"\n";
  snapshot.parameters = sample_block(size, static_cast<float>(global_step));
  for (std::size_t i = 0; i < slot_names(identity.optimizer.kind).size(); ++i) {
    snapshot.slots.push_back(sample_block(size, static_cast<float>(global_step) + 1000.0f * static_cast<float>(i + 1)));
  }
  snapshot.identity = std::move(identity);
  return snapshot;
}

// True if it equals sample_snapshot(step) completely.
inline bool is_sample_snapshot(const ModelSnapshot& snapshot, std::int64_t step) {
  const ModelSnapshot expected = sample_snapshot(step);
  return snapshot.global_step == step && snapshot.parameters == expected.parameters &&
         snapshot.slots == expected.slots && snapshot.run_id == expected.run_id && snapshot.seed == expected.seed &&
         snapshot.config == expected.config && snapshot.consumed_samples == expected.consumed_samples &&
         snapshot.tool_version == expected.tool_version && snapshot.identity.model == expected.identity.model &&
         snapshot.identity.graph == expected.identity.graph &&
         snapshot.identity.optimizer == expected.identity.optimizer;
}

}  // namespace distmnist
