#include "lib/ps/server/sync_replicas.h"

#include "tests/support/catch.h"
#include "tests/support/coordinator_script.h"

namespace distmnist {
namespace {

constexpr TimeMs kFirstWorkerMs = 60'000;
using Lines = std::vector<std::string>;

// A run whose workers have all arrived, except for `absent` of them.
CoordinatorScript run(std::uint32_t num_workers, std::uint32_t replicas, OnLostWorker on_lost = OnLostWorker::kWait,
                      std::uint32_t absent = 0) {
  Strategy strategy;
  strategy.sync = true;
  strategy.replicas_to_aggregate = replicas;
  strategy.on_lost_worker = on_lost;
  strategy.train_steps = 100;
  CoordinatorScript script(std::make_unique<SyncReplicas>(strategy, num_workers, 0, kFirstWorkerMs));
  for (std::uint32_t worker = 0; worker < num_workers - absent; ++worker) script.coordinator->arrive(worker);
  return script;
}

// The number of batches that a worker can do in the current step.
int tokens(CoordinatorScript& script, std::uint32_t worker) {
  int count = 0;
  for (const std::int64_t step = script.step; script.step == step && script.take(worker); ++count) script.push(worker);
  return count;
}

}  // namespace

TEST_CASE("there are max(N, R) tokens: one per worker, and with N < R the others go to the first workers that ask") {
  for (const auto& [workers, replicas] : {std::pair{3u, 3u}, {3u, 2u}, {3u, 1u}}) {
    CoordinatorScript script = run(workers, replicas);
    for (std::uint32_t worker = 0; worker < workers; ++worker) CHECK(tokens(script, worker) == 1);
  }
  CoordinatorScript script = run(2, 5);
  CHECK(tokens(script, 1) == 4);
  CHECK(tokens(script, 0) == 1);
}

TEST_CASE("every step has new tokens, and those of the step before expire") {
  CoordinatorScript script = run(3, 2);
  for (int i = 0; i < 3; ++i) {
    CHECK(script.take(0));
    CHECK(script.take(1));
    CHECK(script.push(0).empty());
    CHECK(script.push(1) == "update 0 1");
  }
  CHECK(tokens(script, 2) == 1);

  CoordinatorScript several = run(2, 4);
  for (int i = 0; i < 3; ++i) {
    for (int batch = 0; batch < 3; ++batch) {
      CHECK(several.take(0));
      CHECK(several.push(0).empty());
    }
    CHECK_FALSE(several.take(0));
    CHECK(several.take(1));
    CHECK(several.push(1) == "update 0 0 0 1");
  }
}

TEST_CASE("an update lists its pushes in order of the workers, and those of one worker in order of its pushes") {
  CoordinatorScript script = run(3, 3);
  script.push(2);
  script.push(0);
  CHECK(script.push(1) == "update 0 1 2");
}

TEST_CASE("only a push of the current step counts") {
  CoordinatorScript script = run(3, 2);
  script.push(0);
  script.push(1);
  CHECK(script.push(2, 0) == "dropped 1");
  script.step = 7;
  CHECK(script.push(2, 3) == "dropped 4");
  CHECK(script.push(2, 7).empty());
}

TEST_CASE("a dropped push takes nothing from the current step") {
  CoordinatorScript script = run(3, 2);
  CHECK(script.take(2));
  script.push(0);
  script.push(1);
  CHECK(script.push(2, 0) == "dropped 1");
  CHECK(tokens(script, 2) == 1);
}

TEST_CASE("a repeated arrival or departure has no effect") {
  CoordinatorScript script = run(2, 2);
  CHECK(script.take(0));
  for (int i = 0; i < 2; ++i) script.coordinator->arrive(0);
  for (int i = 0; i < 2; ++i) script.coordinator->depart(0, 1000);
  script.coordinator->arrive(0);
  CHECK(tokens(script, 0) == 1);
  script.coordinator->depart(1, 1000);
  CHECK(script.tick(1000 + kLostWorkerGraceMs).empty());  // worker 0 is there
}

TEST_CASE("a used token does not come back when its process departs") {
  CoordinatorScript script = run(3, 3);
  CHECK(script.take(1));
  CHECK(script.push(1).empty());
  script.coordinator->depart(1, 0);
  script.coordinator->arrive(1);
  CHECK_FALSE(script.take(1));
}

TEST_CASE("after the last step every worker can have a token") {
  CoordinatorScript script = run(2, 2);
  script.step = 99;
  CHECK(script.take(0));
  script.push(0);
  CHECK_FALSE(script.take(0));
  script.step = 100;
  CHECK(script.take(0));
}

// ---- Losses ----

TEST_CASE("shrink: a worker counts as lost after its grace time, which is longer before its first arrival") {
  CoordinatorScript script = run(3, 3, OnLostWorker::kShrink, 1);
  script.push(0);
  script.coordinator->depart(1, 1000);
  CHECK(script.tick(1000 + kLostWorkerGraceMs - 1).empty());
  CHECK(script.tick(1000 + kLostWorkerGraceMs) ==
        Lines{"workers are lost: a step now takes 2 gradients instead of 3 (--on_lost_worker=shrink)"});
  CHECK(script.tick(kFirstWorkerMs - 1).empty());
  CHECK(script.update().empty());
  CHECK(script.tick(kFirstWorkerMs) ==
        Lines{"workers are lost: a step now takes 1 gradients instead of 2 (--on_lost_worker=shrink)"});
  CHECK(script.update() == "update 0");
  script.coordinator->arrive(2);
  CHECK(script.tick(kFirstWorkerMs + 1) ==
        Lines{"workers are back: a step now takes 2 gradients instead of 1 (--on_lost_worker=shrink)"});
}

TEST_CASE("shrink: with no worker left a step still takes one gradient, and makes no update without one") {
  CoordinatorScript script = run(2, 2, OnLostWorker::kShrink);
  for (const std::uint32_t worker : {0, 1}) script.coordinator->depart(worker, 0);
  CHECK(script.tick(kLostWorkerGraceMs).size() == 1);
  CHECK(script.update().empty());
  script.coordinator->arrive(1);
  CHECK(script.push(1) == "update 1");
}

TEST_CASE("losses are ignored while R workers remain") {
  for (const OnLostWorker policy : {OnLostWorker::kShrink, OnLostWorker::kFail}) {
    CoordinatorScript script = run(3, 2, policy);
    script.coordinator->depart(0, 0);
    CHECK(script.tick(kLostWorkerGraceMs).empty());
  }
}

TEST_CASE("fail: the run ends and names the missing workers") {
  CoordinatorScript script = run(3, 3, OnLostWorker::kFail);
  for (const std::uint32_t worker : {0, 2}) script.coordinator->depart(worker, 0);
  CHECK(script.tick(kLostWorkerGraceMs) == Lines{"failure: worker:0, worker:2 lost: only 1 worker left, but a step "
                                                 "needs 3 gradients (--on_lost_worker=fail)"});
}

TEST_CASE("wait: a missing worker never counts as lost") {
  CoordinatorScript script = run(2, 2);
  for (const std::uint32_t worker : {0, 1}) script.coordinator->depart(worker, 0);
  CHECK(script.tick(10 * kFirstWorkerMs).empty());
  CHECK(script.push(0).empty());
}

TEST_CASE("a worker that is done is not waited for, whatever the strategy, until it is back") {
  for (const OnLostWorker policy : {OnLostWorker::kWait, OnLostWorker::kShrink, OnLostWorker::kFail}) {
    CoordinatorScript script = run(3, 3, policy);
    script.push(0);
    script.coordinator->depart(1, 0);
    script.coordinator->retire(1);
    const Lines warnings = script.tick(0);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].starts_with("workers are done: a step now takes 2 gradients instead of 3"));
    CHECK(script.push(2) == "update 0 2");
    script.coordinator->arrive(1);
    CHECK(script.tick(0).at(0).starts_with("workers are back: a step now takes 3 gradients instead of 2"));
    CHECK(script.take(1));
    CHECK(script.push(0).empty());
    CHECK(script.push(2).empty());
    CHECK(script.push(1) == "update 0 1 2");
  }
}

TEST_CASE("fail: with a worker that is done, the run fails when one of the others is lost") {
  CoordinatorScript script = run(3, 3, OnLostWorker::kFail);
  for (const std::uint32_t worker : {0, 1}) script.coordinator->depart(worker, 0);
  script.coordinator->retire(1);
  CHECK(script.tick(kLostWorkerGraceMs) == Lines{"failure: worker:0 lost: only 1 worker left, but a step needs 2 "
                                                 "gradients (--on_lost_worker=fail)"});
}

TEST_CASE("with several batches per step no worker is missed, because the others get its tokens") {
  for (const OnLostWorker policy : {OnLostWorker::kWait, OnLostWorker::kShrink, OnLostWorker::kFail}) {
    CoordinatorScript script = run(2, 3, policy);
    CHECK(script.take(1));
    script.coordinator->depart(1, 0);
    CHECK(tokens(script, 0) == 3);
    CHECK(script.tick(kLostWorkerGraceMs).empty());
  }
}

// ---- Which workers a wait names ----

TEST_CASE("a wait names workers that have a token or could take one") {
  CoordinatorScript script = run(3, 3);
  script.take(0);
  CHECK(script.coordinator->waiting_for(0) ==
        "worker:0, worker:1, worker:2 (0 of 3 gradients for step 1 have arrived)");
  script.push(0);
  CHECK(script.coordinator->waiting_for(0) == "worker:1, worker:2 (1 of 3 gradients for step 1 have arrived)");
}

}  // namespace distmnist
