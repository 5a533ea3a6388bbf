// Drives real clients over TCP and Unix sockets: RemoteClient in the test's threads, and run_parameter_server() of each
// ps task in other threads of the process (RunningPs). Use JobScript for rules without sockets, and tests/e2e for
// separate processes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "lib/ps/client/remote_client.h"
#include "tests/support/into.h"
#include "tests/support/test_ps.h"
#include "tests/support/trace.h"

namespace distmnist {

using Floats = std::vector<float>;

// One of the variables has more than one chunk.
inline const std::vector<NamedRange> kVariables = {{"fc/weights", {0, kMaxPayloadFloats + 100}},
                                                   {"fc/biases", {kMaxPayloadFloats + 100, 10}}};
inline constexpr std::int64_t kNumParameters = kMaxPayloadFloats + 110;
inline constexpr std::int64_t kBatchSamples = 50;

inline OptimizerSpec sgd(float learning_rate) {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kSgd;
  spec.learning_rate = learning_rate;
  return spec;
}

struct Job {
  std::uint32_t num_ps = 1, num_workers = 1;
  PlacementPolicy placement = PlacementPolicy::kSplit;
  OptimizerSpec optimizer = sgd(0.5f);
  TimeMs recovery_wait_ms = 20'000;
  std::vector<std::uint16_t> ports = {};

  Job& pick_ports() {
    while (ports.size() < num_ps) {
      const std::uint16_t port = free_port();
      if (std::ranges::find(ports, port) == ports.end()) ports.push_back(port);
    }
    return *this;
  }
  PsIdentity identity(std::uint32_t index) const { return {index, num_ps, num_workers, 1000 + index}; }
  RemoteClientConfig worker(std::uint32_t index) const {
    RemoteClientConfig config;
    for (const std::uint16_t port : ports) config.ps.push_back({"127.0.0.1", port});
    config.plan = place(kVariables, static_cast<int>(num_ps), placement);
    config.num_parameters = kNumParameters;
    config.worker = index;
    config.num_workers = num_workers;
    config.chief = index == 0;
    config.incarnation = 10 + index;
    config.optimizer = optimizer;
    config.fingerprint = trace::kJob;
    config.limits.recovery_wait_ms = recovery_wait_ms;
    return config;
  }
};

// The ps tasks of a job, running like in the program.
struct Servers {
  explicit Servers(const Job& job) {
    for (std::uint32_t k = 0; k < job.num_ps; ++k) {
      ps.push_back(std::make_unique<RunningPs>(job.ports[k], job.identity(k)));
    }
  }
  std::vector<std::unique_ptr<RunningPs>> ps;
};

inline Floats counting(float first) {
  Floats values(static_cast<std::size_t>(kNumParameters));
  std::iota(values.begin(), values.end(), first);
  return values;
}

inline StoredModel start_model(const OptimizerSpec& optimizer, std::int64_t global_step = 0) {
  StoredModel model;
  model.global_step = global_step;
  model.parameters = counting(0);
  for (std::size_t slot = 0; slot < slot_names(optimizer.kind).size(); ++slot) {
    model.slots.push_back(Floats(model.parameters.size()));
  }
  return model;
}

// A sink for one call that writes parameters into `block`.
inline Into into_new(Floats& block) {
  block.assign(static_cast<std::size_t>(kNumParameters), NAN);
  return into(block);
}

// Takes the client's first turn. Returns its global_step.
inline std::int64_t join(ParameterClient& client) {
  Floats parameters;
  return client.join(into_new(parameters)).global_step;
}

// Opens the chief's session with a new model, and takes its first turn.
inline void start(RemoteClient& chief, const Job& job) {
  chief.open();
  chief.create(start_model(job.optimizer));
  join(chief);
}

// Pushes a gradient of equal numbers, variable by variable in the order of a backward pass. Returns the global_step of
// the answer.
inline std::int64_t push_all(ParameterClient& client, float value, std::int64_t step, Floats& parameters) {
  const Floats gradients(static_cast<std::size_t>(kNumParameters), value);
  client.begin_push(numbers_of(gradients), step, kBatchSamples);
  client.push(kVariables[1].range);
  client.push(kVariables[0].range);
  return client.finish_push(into_new(parameters)).global_step;
}

// True if the parameters are counting(0) - decrease everywhere.
inline bool decreased_by(const Floats& parameters, float decrease) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i] != static_cast<float>(i) - decrease) return false;
  }
  return parameters.size() == static_cast<std::size_t>(kNumParameters);
}

}  // namespace distmnist
