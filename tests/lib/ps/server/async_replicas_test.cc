#include "lib/ps/server/async_replicas.h"

#include "tests/support/catch.h"
#include "tests/support/coordinator_script.h"

namespace distmnist {
namespace {

CoordinatorScript run(const Strategy& strategy, std::uint32_t num_workers = 2) {
  CoordinatorScript script(std::make_unique<AsyncReplicas>(strategy, num_workers));
  for (std::uint32_t worker = 0; worker < num_workers; ++worker) script.coordinator->arrive(worker);
  return script;
}

Strategy with(StalenessPolicy policy, std::int64_t drop_above = 0) {
  Strategy strategy;
  strategy.staleness = policy;
  strategy.drop_above = drop_above;
  strategy.train_steps = 100;
  return strategy;
}

Strategy at_most_ahead(std::int64_t batches) {
  Strategy strategy = with(StalenessPolicy::kKeep);
  strategy.max_staleness = batches;
  return strategy;
}

}  // namespace

TEST_CASE("keep: every push is one update, however stale, and no worker waits") {
  CoordinatorScript script = run(with(StalenessPolicy::kKeep));
  for (int i = 0; i < 5; ++i) CHECK(script.push(0) == "update 0");
  CHECK(script.push(1, 0) == "update 1, stale by 5");
  CHECK(script.take(0));
  CHECK(script.take(1));
}

TEST_CASE("drop: a push with staleness above the limit is dropped") {
  CoordinatorScript script = run(with(StalenessPolicy::kDrop, 2));
  script.step = 10;
  CHECK(script.push(0, 8) == "update 0, stale by 2");
  CHECK(script.push(0, 8) == "dropped 3");
  CHECK(script.push(0, 11) == "update 0");
  CHECK(script.step == 12);
}

TEST_CASE("scale: a push is weighted by one over its staleness, a fresh push in full") {
  CoordinatorScript script = run(with(StalenessPolicy::kScale));
  script.step = 10;
  CHECK(script.push(0, 10) == "update 0");
  CHECK(script.push(0, 10) == "update 0, stale by 1");
  CHECK(script.push(0, 10) == "update 0 * 0.5, stale by 2");
  CHECK(script.push(0, 9) == "update 0 * 0.25, stale by 4");
}

TEST_CASE("a worker can be ahead of the slowest worker by the allowed number of batches") {
  for (const std::int64_t limit : {0, 1, 3}) {
    CAPTURE(limit);
    CoordinatorScript script = run(at_most_ahead(limit), 3);
    script.push(1);
    for (std::int64_t i = 0; i < limit; ++i) {
      CHECK(script.take(0));
      script.push(0);
    }
    CHECK(script.take(0));
    script.push(0);
    CHECK_FALSE(script.take(0));
    CHECK(script.take(2));
    script.push(2);
    CHECK(script.take(0));
  }
}

TEST_CASE("a dropped push also counts as a batch, so its worker is not considered slow") {
  Strategy strategy = at_most_ahead(0);
  strategy.staleness = StalenessPolicy::kDrop;
  CoordinatorScript script = run(strategy);
  script.push(0);
  CHECK_FALSE(script.take(0));
  CHECK(script.push(1, 0) == "dropped 1");
  CHECK(script.take(0));
}

TEST_CASE("only workers that take part can be the slowest") {
  CoordinatorScript script = run(at_most_ahead(0));
  for (int i = 0; i < 3; ++i) script.push(0);
  CHECK_FALSE(script.take(0));
  script.coordinator->depart(1, 0);
  CHECK(script.take(0));
  script.coordinator->arrive(1);  // it begins at the slowest worker's batch
  CHECK(script.take(0));
  CHECK(script.take(1));
  script.push(0);
  CHECK_FALSE(script.take(0));
  script.coordinator->arrive(1);  // repeated without effect
  CHECK_FALSE(script.take(0));
}

TEST_CASE("after the last step no worker waits") {
  CoordinatorScript script = run(at_most_ahead(0));
  script.push(0);
  script.step = 99;
  CHECK_FALSE(script.take(0));
  script.step = 100;
  CHECK(script.take(0));
}

TEST_CASE("in a warm-up only worker 0 continues") {
  Strategy strategy = with(StalenessPolicy::kKeep);
  strategy.warmup_steps = 10;
  CoordinatorScript script = run(strategy);
  script.step = 9;
  CHECK(script.take(0));
  CHECK_FALSE(script.take(1));
  script.step = 10;
  CHECK(script.take(1));
}

TEST_CASE("a warm-up longer than the run ends with it") {
  Strategy strategy = with(StalenessPolicy::kKeep);
  strategy.warmup_steps = 1000;
  CoordinatorScript script = run(strategy);
  script.step = 100;
  CHECK(script.take(1));
}

TEST_CASE("a wait names the workers that it depends on") {
  CoordinatorScript script = run(at_most_ahead(1), 3);
  for (int i = 0; i < 2; ++i) script.push(0);
  CHECK(script.coordinator->waiting_for(2) == "worker:1, worker:2, the slowest, at batch 0 (--max_staleness=1)");
  script.push(1);
  CHECK(script.coordinator->waiting_for(3) == "worker:2, the slowest, at batch 0 (--max_staleness=1)");

  Strategy strategy = with(StalenessPolicy::kKeep);
  strategy.warmup_steps = 10;
  CHECK(run(strategy).coordinator->waiting_for(4) ==
        "worker:0, which trains alone until global_step 10 and is now at 4 (--warmup_steps)");
}

TEST_CASE("a warm-up ends when worker 0 is done") {
  Strategy strategy;
  strategy.train_steps = 100;
  strategy.warmup_steps = 10;
  CoordinatorScript script(std::make_unique<AsyncReplicas>(strategy, 2));
  script.coordinator->arrive(1);
  CHECK_FALSE(script.take(1));
  script.coordinator->retire(0);
  CHECK(script.take(1));
  script.coordinator->arrive(0);
  CHECK_FALSE(script.take(1));
}

}  // namespace distmnist
