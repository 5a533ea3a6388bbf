// Simulation drives whole jobs in simulated time: the shipped Exchange and WorkerSession against the shipped PsCore, on
// a simulated network and clock, from one seed. Use it to find rare orders of events; JobScript tests a chosen order,
// and remote_job.h uses real sockets.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "tests/support/simulated_worker.h"

namespace distmnist::trace {

class Simulation {
 public:
  explicit Simulation(const Plan& plan) : job(plan) {
    for (std::uint32_t w = 0; w < plan.num_workers; ++w) start_worker(w);
  }

  void run() {
    job.clock.at(0, [this] { tick(); });
    // Often while the model is being created, otherwise later in the run.
    const std::uint64_t first_death_ms = job.plan.seed % 4 == 0 ? 500 : job.plan.death_every_ms;
    if (job.plan.deaths)
      job.clock.at(static_cast<TimeMs>(job.random.below(first_death_ms)), [this] { kill_someone(); });
    if (job.plan.ps_restarts) job.clock.at(static_cast<TimeMs>(job.random.below(3'000)), [this] { restart_ps(); });
    while (!over() && job.clock.step()) REQUIRE(job.clock.now() < kForeverMs);
  }

  SimulatedJob job;

 private:
  static constexpr TimeMs kTickMs = 100;

  bool over() const {
    return current_.size() == job.plan.num_workers &&
           std::ranges::all_of(current_, [](const auto& entry) { return entry.second->finished(); });
  }
  void start_worker(std::uint32_t index) {
    processes_.push_back(std::make_unique<SimulatedWorker>(job, index, Random(job.plan.seed, 5).at(processes_.size())));
    current_[index] = processes_.back().get();
  }
  void tick() {
    for (auto& ps : job.servers) ps->core->on_tick(job.clock.now());
    for (const auto& [index, worker] : current_) worker->tick();
    job.clock.at(job.clock.now() + kTickMs, [this] { tick(); });
  }
  void restart_ps() {
    ++job.ps_restarts;
    const std::size_t ps = job.random.below(job.plan.num_ps);
    job.servers[ps]->start();
    for (const auto& [index, worker] : current_) {
      Exchange& exchange = worker->session().exchange(ps);
      if (exchange.connected()) exchange.on_broken("closed the connection", job.clock.now());
    }
  }
  void kill_someone() {
    const auto index = static_cast<std::uint32_t>(job.random.below(job.plan.num_workers));
    if (current_.contains(index) && !current_[index]->finished()) {
      ++job.deaths;
      if (job.random.below(2) == 0) {
        current_[index]->die();
        start_worker(index);
      } else {
        current_[index]->leave();
        current_.erase(index);
        // Waits until all its messages have arrived, because until then it counts as alive.
        job.clock.at(job.clock.now() + 2 * job.plan.faults.stall_ms, [this, index] { start_worker(index); });
      }
    }
    const auto pause_ms =
        3 * kProbeMs +
        static_cast<TimeMs>(job.random.below(job.plan.death_every_ms));  // two newcomers at once would be a conflict
    if (job.deaths < 3) job.clock.at(job.clock.now() + pause_ms, [this] { kill_someone(); });
  }

  // Dead processes stay here, because their messages can still be in transit.
  std::vector<std::unique_ptr<SimulatedWorker>> processes_;
  std::map<std::uint32_t, SimulatedWorker*> current_;  // by task
};

struct Outcome {
  std::int64_t steps = 0;
  int snapshots = 0, whole_snapshots = 0;
  int dropped = 0, deaths = 0, ps_restarts = 0;
};

// Runs a job to its end and checks the final state: every ps has the same updates; a push answered as accepted is in
// them once, one answered as dropped is not, and a push without an answer, whose process died, is in them at most once.
inline Outcome run_and_check(const Plan& plan) {
  const Strategy& strategy = plan.strategy;
  CAPTURE(plan.seed, plan.num_ps, plan.num_workers, plan.deaths, strategy.sync, strategy.replicas_to_aggregate,
          static_cast<int>(strategy.staleness), strategy.drop_above, strategy.max_staleness, strategy.warmup_steps);
  Simulation simulation(plan);
  simulation.run();
  SimulatedJob& job = simulation.job;
  Outcome out{job.servers.front()->newest_step, job.snapshots, job.whole_snapshots, 0, job.deaths, job.ps_restarts};
  Ledger& ledger = job.ledgers[job.servers.front()->run];
  for (const auto& ps : job.servers) {
    REQUIRE(ps->core->end().has_value());
    CHECK(ps->core->end()->code == ExitCode::kOk);
    if (plan.ordered()) {
      CHECK(ps->newest_step == out.steps);
      CHECK(ps->value == job.servers.front()->value);
    }
    if (strategy.sync) CHECK(ps->newest_step == strategy.train_steps);
    if (strategy.train_steps > 0) CHECK(ps->newest_step >= strategy.train_steps);
    if (!plan.countable()) continue;
    for (std::uint32_t worker = 0; worker < plan.num_workers; ++worker) {
      const int unanswered = ledger.begun[worker] - ledger.accepted[worker] - ledger.dropped[worker];
      CHECK(ps->applied[worker] >= ledger.accepted[worker]);
      CHECK(ps->applied[worker] <= ledger.accepted[worker] + unanswered);
      if (strategy.train_steps == 0) CHECK(ledger.accepted[worker] == kPushes);
      // A session that is opened again leaves a push without an answer, whether it was applied or not.
      if (!plan.deaths) CHECK(unanswered <= job.reopened[worker]);
    }
  }
  for (const auto& [worker, count] : ledger.dropped) out.dropped += count;
  return out;
}

}  // namespace distmnist::trace
