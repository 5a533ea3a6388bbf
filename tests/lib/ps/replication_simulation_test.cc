// Simulates whole jobs in which ps 0 decides, from many seeds: synchronous jobs and jobs with staleness rules. Whatever
// the network does and whichever process dies, all ps tasks make the same updates in the same order, a push is in them
// once or not at all, and the job ends.
#include "tests/support/simulation.h"

namespace distmnist::trace {
namespace {

constexpr std::int64_t kSyncSteps = 10, kAsyncSteps = 30;
const Faults kGood{0, 0, 0, 50, 0}, kBad{}, kVeryBad{0.1, 0.1, 0.01, 50, 20'000};

Strategy synchronous(std::uint32_t replicas, OnLostWorker on_lost_worker = OnLostWorker::kWait) {
  Strategy strategy;
  strategy.sync = true;
  strategy.replicas_to_aggregate = replicas;
  strategy.on_lost_worker = on_lost_worker;
  strategy.train_steps = kSyncSteps;
  return strategy;
}

Strategy asynchronous(StalenessPolicy policy, std::int64_t drop_above, std::int64_t max_staleness) {
  Strategy strategy;
  strategy.staleness = policy;
  strategy.drop_above = drop_above;
  strategy.max_staleness = max_staleness;
  strategy.train_steps = kAsyncSteps;
  return strategy;
}

struct Job {
  std::uint32_t num_workers;
  Strategy strategy;
};
const std::vector<Job> kJobs = {
    {1, synchronous(1)},
    {2, synchronous(2)},
    {3, synchronous(3)},
    {3, synchronous(2)},  // with a backup worker
    {3, synchronous(1)},
    {1, synchronous(4)},  // several batches of a worker per step
    {2, synchronous(4)},
    {3, synchronous(4)},
    {2, synchronous(2, OnLostWorker::kShrink)},
    {3, synchronous(3, OnLostWorker::kShrink)},
    {3, asynchronous(StalenessPolicy::kDrop, 1, kUnboundedStaleness)},
    {3, asynchronous(StalenessPolicy::kDrop, 0, 2)},
    {3, asynchronous(StalenessPolicy::kScale, 0, kUnboundedStaleness)},
    {2, asynchronous(StalenessPolicy::kKeep, 0, 0)},
    {3, asynchronous(StalenessPolicy::kKeep, 0, 1)},
};

// Runs every job with 1 to 3 ps tasks, from `rounds` seeds each.
Outcome run_all(const Faults& faults, bool deaths, std::uint64_t rounds, bool ps_restarts = false) {
  Outcome sum;
  for (std::uint64_t seed = 0; seed < rounds * kJobs.size() * 3; ++seed) {
    const Job& job = kJobs[seed % kJobs.size()];
    Plan plan{seed,        1 + static_cast<std::uint32_t>(seed / kJobs.size() % 3), job.num_workers, faults, deaths,
              job.strategy};
    if (seed % 5 == 4) plan.strategy.warmup_steps = job.strategy.sync ? 0 : 8;
    plan.death_every_ms = 4'000;
    plan.snapshot_every = 1;
    plan.ps_restarts = ps_restarts;
    const Outcome one = run_and_check(plan);
    sum.steps += one.steps;
    sum.snapshots += one.snapshots;
    sum.whole_snapshots += one.whole_snapshots;
    sum.dropped += one.dropped;
    sum.deaths += one.deaths;
    sum.ps_restarts += one.ps_restarts;
  }
  return sum;
}

}  // namespace

TEST_CASE("on a good network all ps tasks make the same updates and every snapshot is consistent") {
  const Outcome outcome = run_all(kGood, false, 4);
  CHECK(outcome.whole_snapshots == outcome.snapshots);
  CHECK(outcome.dropped > 0);
}

TEST_CASE("on a bad network all ps tasks make the same updates and every job ends") {
  const Outcome outcome = run_all(kBad, false, 20);
  CHECK(outcome.whole_snapshots > outcome.snapshots / 2);
}

TEST_CASE("on a network that loses every fifth message all ps tasks still make the same updates") {
  run_all(kVeryBad, false, 10);
}

TEST_CASE("whichever process dies and restarts, all ps tasks make the same updates") {
  CHECK(run_all(kBad, true, 40).deaths > 1000);
}

TEST_CASE("whichever ps restarts, all make the same updates of the new model") {
  CHECK(run_all(kBad, false, 10, true).ps_restarts > 100);
}

}  // namespace distmnist::trace
