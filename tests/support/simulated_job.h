// SimulatedJob: what the processes of one simulated job share: plan, clock, network, ps tasks, and a ledger of what was
// said. Worker w's gradients are kBase^w everywhere and the optimizer is SGD with rate 1, so that a parameter tells
// whose pushes are in it.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "lib/ps/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/network.h"

namespace distmnist::trace {

inline constexpr TimeMs kForeverMs = 10 * 60 * 60 * 1000;
inline constexpr int kPushes = 12;  // of each worker, where the strategy names no end
inline constexpr std::uint32_t kBatchSamples = 5;
inline constexpr std::int64_t kBase = 64;
inline constexpr std::int64_t kShardFloats = 3;

struct Plan {
  std::uint64_t seed = 0;
  std::uint32_t num_ps = 1, num_workers = 2;
  Faults faults;
  bool deaths = false;  // worker processes are killed and started again
  Strategy strategy = {};
  std::uint64_t death_every_ms = 20'000;  // at most; three in all
  int snapshot_every = 4;                 // pushes of the chief

  // Pushes to an update. Their mean is exact in float32 where it is a power of 2, and then each push can be found in
  // it.
  std::int64_t per_update() const { return strategy.sync ? strategy.replicas_to_aggregate : 1; }
  bool countable() const {
    const bool shrinks = strategy.sync && strategy.on_lost_worker == OnLostWorker::kShrink;
    return !shrinks && strategy.staleness != StalenessPolicy::kScale && (per_update() & (per_update() - 1)) == 0;
  }
};

using Counts = std::map<std::uint32_t, int>;  // pushes by worker

// The pushes in a parameter's value.
inline Counts counts_of(float value, const Plan& plan) {
  auto rest = static_cast<std::int64_t>(-value * static_cast<float>(plan.per_update()));
  Counts counts;
  for (std::uint32_t worker = 0; worker < plan.num_workers; ++worker, rest /= kBase) {
    counts[worker] = static_cast<int>(rest % kBase);
  }
  return counts;
}

struct SimulatedJob;

// A ps task.
class SimulatedPs : public PsActions {
 public:
  SimulatedPs(SimulatedJob& job, std::uint32_t index);

  void send(const Route& to, Message&& message) override;
  void keep(const Route&) override {}
  void cut(const Route&) override {}
  void log(LogLevel, const std::string&) override {}

  PsCore core;
  std::int64_t newest_step = -1;
  float value = 0;  // of the parameters at newest_step
  Counts applied;   // in it

 private:
  void note(const Header& header, float value);

  SimulatedJob& job_;
};

struct SimulatedJob {
  explicit SimulatedJob(const Plan& plan) : plan(plan), network(clock, plan.seed, plan.faults), random(plan.seed, 2) {
    for (std::uint32_t k = 0; k < plan.num_ps; ++k) servers.push_back(std::make_unique<SimulatedPs>(*this, k));
  }

  Plan plan;
  SimulatedClock clock;
  SimulatedNetwork network;
  Random random;
  std::vector<std::unique_ptr<SimulatedPs>> servers;

  // By worker, over all its processes: pushes begun, and answered as accepted or as dropped.
  Counts begun, accepted, dropped;
  // Where ps 0 decides: the value of all parameters by model and update; it is the same on all ps tasks.
  std::map<std::pair<std::uint64_t, std::int64_t>, float> values;
  int snapshots = 0, whole_snapshots = 0;
  int deaths = 0;
};

inline SimulatedPs::SimulatedPs(SimulatedJob& job, std::uint32_t index)
    : core({index, job.plan.num_ps, job.plan.num_workers, 500 + index}, {kForeverMs}, *this, 0), job_(job) {}

inline void SimulatedPs::send(const Route& to, Message&& message) {
  if (message.header.type == MessageType::kParameters && message.header.step >= newest_step) {
    for (const float each : message.payload.floats()) note(message.header, each);
  }
  job_.network.answer(to, std::move(message));
}

// Every parameter of the shard has seen the same pushes, as many as the step says; every ps the same updates.
inline void SimulatedPs::note(const Header& header, float now) {
  if (header.step == newest_step) REQUIRE(now == value);
  if (job_.plan.strategy.ordered()) {
    REQUIRE(job_.values.emplace(std::pair(header.run, header.commit), now).first->second == now);
  }
  newest_step = header.step;
  value = now;
  if (!job_.plan.countable()) return;
  applied = counts_of(value, job_.plan);
  std::int64_t sum = 0;
  for (const auto& [worker, count] : applied) sum += count;
  REQUIRE(sum == header.step * job_.plan.per_update());
}

}  // namespace distmnist::trace
