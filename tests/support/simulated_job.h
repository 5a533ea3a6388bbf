// SimulatedJob: the data that the processes of one simulated job share (see simulation.h): plan, clock, network, ps
// tasks, and a ledger of the messages. Worker w's gradients are kBase^w everywhere and the optimizer is SGD with rate
// 1, so that a parameter shows whose pushes it contains.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "lib/ps/client/worker_session.h"
#include "lib/ps/server/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/network.h"

namespace distmnist::trace {

inline constexpr TimeMs kForeverMs = 10 * 60 * 60 * 1000;
inline constexpr int kPushes = 12;  // of each worker, if the strategy has no end
inline constexpr std::uint32_t kBatchSamples = 5;
inline constexpr std::int64_t kBase = 64;
inline constexpr std::int64_t kShardFloats = 3;

struct Plan {
  std::uint64_t seed = 0;
  std::uint32_t num_ps = 1, num_workers = 2;
  Faults faults;
  bool deaths = false;  // worker processes are killed and restarted
  Strategy strategy = {};
  std::uint64_t death_every_ms = 20'000;  // longest interval; three deaths in total
  int snapshot_every = 4;                 // pushes of the chief
  bool ps_restarts = false;               // a ps task restarts without its model

  bool ordered() const { return strategy.ordered(num_ps); }
  // Pushes per update. If this is a power of 2, their mean is exact in float32, and each push can be found in it.
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

// A ps task: the shipped PsCore with simulated sockets.
class SimulatedPs : public PsActions {
 public:
  SimulatedPs(SimulatedJob& job, std::uint32_t index);

  void send(const Route& to, Message&& message) override;
  void keep(const Route&) override {}
  void cut(const Route&) override {}
  void log(LogLevel, const std::string&) override {}

  // Ends it and starts it again without a model.
  void start();

  std::unique_ptr<PsCore> core;
  std::uint64_t run = 0;  // of the model in its answers
  std::int64_t newest_step = -1;
  float value = 0;  // of the parameters at newest_step
  Counts applied;   // the pushes in it

 private:
  void note(const Header& header, float value);

  SimulatedJob& job_;
  std::uint32_t index_;
  std::uint64_t starts_ = 0;
};

// Counts by worker, over all its processes: pushes begun, and answered as accepted or as dropped.
struct Ledger {
  Counts begun, accepted, dropped;
};

struct SimulatedJob {
  explicit SimulatedJob(const Plan& plan) : plan(plan), network(clock, plan.seed, plan.faults), random(plan.seed, 2) {
    for (std::uint32_t k = 0; k < plan.num_ps; ++k) servers.push_back(std::make_unique<SimulatedPs>(*this, k));
  }

  // True if a worker at this step has nothing more to do.
  bool over(std::uint32_t worker, std::uint64_t run, std::int64_t step) {
    return plan.strategy.train_steps > 0 ? step >= plan.strategy.train_steps : ledgers[run].accepted[worker] >= kPushes;
  }

  Plan plan;
  SimulatedClock clock;
  SimulatedNetwork network;
  Random random;
  std::vector<std::unique_ptr<SimulatedPs>> servers;

  std::map<std::uint64_t, Ledger> ledgers;  // by model
  // If ps 0 decides: the value of all parameters by model and update, which is the same on all ps tasks.
  std::map<std::pair<std::uint64_t, std::int64_t>, float> values;
  int snapshots = 0, whole_snapshots = 0;
  int deaths = 0, ps_restarts = 0;
  Counts reopened;           // sessions by worker that were opened again
  std::uint64_t models = 0;  // number of models created
  // By process and sequence: whether the question is a greeting.
  std::map<std::pair<std::uint64_t, std::uint64_t>, bool> greets;
};

// A worker's line to one ps.
struct SimulatedLink : ExchangeActions {
  SimulatedLink(SimulatedJob& job, std::uint32_t ps, SimulatedNetwork::ToWorker to_worker)
      : job(job),
        line(
            job.network,
            [&job, ps](const Route& route, Received&& received) {
              job.servers[ps]->core->on_message(Sender{route}, std::move(received), job.clock.now());
            },
            std::move(to_worker)) {}
  // A sequence identifies one question of a process, so it cannot be a greeting and a request.
  void send(const Header& header, std::span<const std::byte> payload, Lifetime) override {
    const bool greets = header.type == MessageType::kHello;
    const bool asks = header.type != MessageType::kPing && header.type != MessageType::kLeave;
    if (asks)
      REQUIRE(job.greets.emplace(std::pair(header.incarnation, header.sequence), greets).first->second == greets);
    line.send({header, frame_of(payload)});
  }
  void reconnect() override { line.give_up(); }
  void report(const std::string&) override {}
  void notice(const std::string&) override {}

  SimulatedJob& job;
  SimulatedNetwork::Line line;
};

// The model that the chief creates.
inline StoredModel start_model(const Plan& plan) {
  StoredModel model;
  model.parameters.resize(plan.num_ps * kShardFloats);
  return model;
}

// The configuration of a process of worker `index`.
inline WorkerSessionConfig session_config(SimulatedJob& job, std::uint32_t index, std::uint64_t incarnation) {
  WorkerSessionConfig config;
  for (std::uint32_t ps = 0; ps < job.plan.num_ps; ++ps) {
    const std::int64_t begin = ps * kShardFloats, cut = begin + kShardFloats - 1;
    config.ps.push_back({"ps", static_cast<std::uint16_t>(ps)});
    config.plan.push_back({{fmt::format("v{}", ps), {begin, kShardFloats - 1}}, {fmt::format("w{}", ps), {cut, 1}}});
  }
  config.num_parameters = job.plan.num_ps * kShardFloats;
  config.worker = index;
  config.num_workers = job.plan.num_workers;
  config.incarnation = incarnation;
  config.draw_run = [&job, incarnation] { return mix64(incarnation) + ++job.models; };
  config.optimizer = {OptimizerKind::kSgd, 1.0f};
  config.strategy = job.plan.strategy;
  config.fingerprint = kJob;
  config.limits.recovery_wait_ms = kForeverMs;
  return config;
}

inline SimulatedPs::SimulatedPs(SimulatedJob& job, std::uint32_t index) : job_(job), index_(index) {
  start();
}

inline void SimulatedPs::start() {
  const PsIdentity identity{index_, job_.plan.num_ps, job_.plan.num_workers, 500 + index_ + 100 * starts_++};
  core = std::make_unique<PsCore>(PsSetup{identity, {kForeverMs}}, *this, job_.clock.now());
  newest_step = -1;
  value = 0;
  applied.clear();
}

inline void SimulatedPs::send(const Route& to, Message&& message) {
  if (message.header.type == MessageType::kParameters && std::exchange(run, message.header.run) != run)
    newest_step = -1;
  if (message.header.type == MessageType::kParameters && message.header.step >= newest_step) {
    for (const float each : message.payload.floats()) note(message.header, each);
  }
  job_.network.answer(to, std::move(message));
}

// Checks that every parameter of the shard has seen the same pushes, as many as the step says, and that every ps has
// made the same updates.
inline void SimulatedPs::note(const Header& header, float now) {
  if (header.step == newest_step) REQUIRE(now == value);
  if (job_.plan.ordered()) {
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
