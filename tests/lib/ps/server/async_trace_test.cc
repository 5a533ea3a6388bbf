// The rules of asynchronous training, tested message by message: plain, with staleness limits, and with a warm-up.
#include "lib/ps/server/container.h"

#include "tests/support/catch.h"
#include "tests/support/job_script.h"

namespace distmnist::trace {
namespace {

Strategy drop_above(std::int64_t limit) {
  Strategy strategy = asynchronous();
  strategy.staleness = StalenessPolicy::kDrop;
  strategy.drop_above = limit;
  return strategy;
}

Strategy at_most_ahead(std::int64_t batches) {
  Strategy strategy = asynchronous();
  strategy.max_staleness = batches;
  return strategy;
}

JobScript joined(const Strategy& strategy, std::uint32_t num_workers, std::uint32_t num_ps = 1,
                 WaitLimits limits = {}) {
  JobScript job(strategy, num_workers, num_ps, limits);
  for (std::uint32_t w = 0; w < num_workers; ++w) job.join(w);
  return job;
}

}  // namespace

// ---- Plain ----

TEST_CASE("a ps that is alone applies a push when it arrives, and answers with the parameters") {
  JobScript job(asynchronous(), 2);
  CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
  CHECK(job.push(0, 1) == Lines{"0: step 1, value -1"});
  CHECK(job.push(0, 1) == Lines{"0: step 2, value -2"});
  CHECK(job.join(1) == Lines{"1: step 2, sample 0, value -2"});
  CHECK(job.push(1, 2) == Lines{"1: step 3, value -4"});
}

TEST_CASE("several ps tasks apply a push when it is complete on all of them, and no worker waits for another") {
  JobScript job(asynchronous(), 2, 2);
  CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.push(0, 1) == Lines{"0: step 2, sample 100, value -2"});
  CHECK(job.join(1) == Lines{"1: step 2, sample 0, value -2"});
  CHECK(job.stage(1, 2, 0).empty());  // it dies before ps 1 has it
  CHECK(job.push(0, 1) == Lines{"0: step 3, sample 150, value -3"});
  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 3, sample 0, value -3"});  // the half push counts nowhere
}

TEST_CASE("a process that takes over a plain worker's task continues after the pushes that were applied") {
  JobScript job = joined(asynchronous(), 2);
  job.push(1, 1);
  job.push(1, 1);
  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 2, sample 100, value -2"});
}

// ---- drop:K and scale ----

TEST_CASE("drop: a push staler than the limit is dropped on all ps tasks, and its worker continues at once") {
  JobScript job = joined(drop_above(1), 3, 2);
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.push(1, 1) == Lines{"1: stale by 1, step 2, sample 50, value -2"});
  CHECK(job.push(2, 1) == Lines{"2: dropped (stale by 2), step 2, sample 50, value -2"});
  CHECK(job.push(2, 1) == Lines{"2: step 3, sample 100, value -3"});
}

TEST_CASE("drop: whichever ps a push reaches first, ps 0 decides for both") {
  JobScript job = joined(drop_above(0), 2, 2);
  CHECK(job.stage(1, 100, 1).empty());  // before worker 0's push at ps 1,
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.stage_again(1, 100, 0).empty());  // after it at ps 0
  CHECK(job.commit(1) == Lines{"1: dropped (stale by 1), step 1, sample 50, value -1"});
}

TEST_CASE("drop: a repeated push is applied once, and the decision stays the same") {
  JobScript job = joined(drop_above(0), 2, 2);
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.commit_again(0) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.push(1, 1) == Lines{"1: dropped (stale by 1), step 1, sample 50, value -1"});
  CHECK(job.push(0, 1) == Lines{"0: step 2, sample 100, value -2"});
  CHECK(job.commit_again(1) == Lines{"1: dropped (stale by 1), step 2, sample 50, value -2"});
}

TEST_CASE("drop: the second ps makes all updates in the order of the first, whichever worker reports them") {
  JobScript job = joined(drop_above(5), 3, 2);
  job.visit_others = false;
  job.push(0, 1);
  job.push(1, 2);
  job.leave(0);
  job.visit_others = true;
  CHECK(job.push(2, 4) == Lines{"2: stale by 2, step 3, sample 50, value -7"});
}

TEST_CASE("scale: the learning rate of a push is divided by its staleness, on all ps tasks") {
  Strategy strategy = asynchronous();
  strategy.staleness = StalenessPolicy::kScale;
  JobScript job = joined(strategy, 3, 2);
  CHECK(job.push(0, 4) == Lines{"0: step 1, sample 50, value -4"});
  CHECK(job.push(1, 4) == Lines{"1: stale by 1, step 2, sample 50, value -8"});
  CHECK(job.push(2, 4) == Lines{"2: stale by 2, step 3, sample 50, value -10"});
  CHECK(job.push(2, 4) == Lines{"2: step 4, sample 100, value -14"});
}

// ---- Stale synchronous parallel ----

TEST_CASE("max_staleness 0: a worker waits until all have done as many batches, and all pushes count") {
  JobScript job = joined(at_most_ahead(0), 2);
  CHECK(job.push(0, 1).empty());
  CHECK(job.push(1, 1) == Lines{"0: step 2, sample 50, value -2", "1: stale by 1, step 2, sample 50, value -2"});
  CHECK(job.push(1, 1).empty());
  CHECK(job.push(0, 1) == Lines{"1: step 4, sample 100, value -4", "0: stale by 1, step 4, sample 100, value -4"});
}

TEST_CASE("max_staleness 2: the fast worker gets two batches ahead and waits for the slow one's next batch") {
  JobScript job = joined(at_most_ahead(2), 2);
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.push(0, 1) == Lines{"0: step 2, sample 100, value -2"});
  CHECK(job.push(0, 1).empty());
  job.pass(1000);
  CHECK(job.take_notices() == Lines{"0: notice: waiting for worker:1, the slowest, at batch 0 (--max_staleness=2)"});
  CHECK(job.push(1, 1) == Lines{"0: step 4, sample 150, value -4", "1: stale by 3, step 4, sample 50, value -4"});
  CHECK(job.push(0, 1).empty());
}

TEST_CASE("lost and done workers delay no other worker") {
  SECTION("lost") {
    JobScript job = joined(at_most_ahead(0), 2);
    CHECK(job.push(0, 1).empty());
    CHECK(job.lose(1) == Lines{"0: step 1, sample 50, value -1"});
    CHECK(job.push(0, 1).size() == 1);
  }
  SECTION("done") {
    JobScript job = joined(at_most_ahead(0), 2);
    CHECK(job.push(0, 1).empty());
    CHECK(job.done(1) == Lines{"0: step 1, sample 50, value -1"});
  }
  SECTION("left") {
    JobScript job = joined(at_most_ahead(0), 2);
    CHECK(job.push(0, 1).empty());
    CHECK(job.leave(1) == Lines{"0: step 1, sample 50, value -1"});
  }
}

TEST_CASE("a late worker begins at the slowest worker's batch, and no worker waits for what it missed") {
  JobScript job(at_most_ahead(0), 2);
  job.join(0);
  for (int i = 0; i < 5; ++i) CHECK(job.push(0, 1).size() == 1);
  CHECK(job.join(1) == Lines{"1: step 5, sample 0, value -5"});
  CHECK(job.push(0, 1).empty());
  CHECK(job.push(1, 1) == Lines{"0: step 7, sample 300, value -7", "1: stale by 1, step 7, sample 50, value -7"});
}

TEST_CASE("if the slowest worker stops, the workers that wait for it give up at the deadline") {
  JobScript job = joined(at_most_ahead(0), 2, 1, {.recovery_wait_ms = 20'000});
  job.push(0, 1);
  CHECK(job.pass(19'500).empty());
  CHECK(job.pass(500) ==
        Lines{"0: refuse 138: gave up after waiting 20 s for worker:1, the slowest, at batch 0 (--max_staleness=0)"});
}

TEST_CASE("at the last step no worker waits for slow workers") {
  Strategy strategy = at_most_ahead(0);
  strategy.train_steps = 2;
  JobScript job = joined(strategy, 3);
  CHECK(job.push(0, 1).empty());
  CHECK(job.push(1, 1) == Lines{"0: step 2, sample 50, value -2", "1: stale by 1, step 2, sample 50, value -2"});
}

// ---- Warm-up ----

TEST_CASE("in a warm-up worker 0 trains alone; the others wait, get a notice, and begin when it is over") {
  for (const std::int64_t max_staleness : {kUnboundedStaleness, std::int64_t{10}}) {
    Strategy strategy = at_most_ahead(max_staleness);
    strategy.warmup_steps = 2;
    JobScript job(strategy, 2);
    CHECK(job.join(1).empty());
    CHECK(job.join(0).size() == 1);
    CHECK(job.push(0, 1).size() == 1);
    CHECK(job.pass(1000).empty());
    CHECK(job.take_notices() == Lines{"1: notice: waiting for worker:0, which trains alone until global_step 2 and is "
                                      "now at 1 (--warmup_steps)"});
    const Lines out = job.push(0, 1);
    REQUIRE(out.size() == 2);
    CHECK(any_holds(out, "1: step 2, sample 0, value -2"));
  }
}

TEST_CASE("a warm-up that is longer than the recovery time is no reason to give up") {
  Strategy strategy = asynchronous();
  strategy.warmup_steps = 100;
  JobScript job(strategy, 2, 1, {.recovery_wait_ms = 5'000});
  job.join(1);
  job.join(0);
  for (int i = 0; i < 10; ++i) {
    CHECK(job.push(0, 1).size() == 1);
    CHECK(job.pass(4'000).empty());
  }
  CHECK(job.pass(1'000) == Lines{"1: refuse 138: gave up after waiting 5 s for worker:0, which trains alone until "
                                 "global_step 100 and is now at 10 (--warmup_steps)"});
}

// ---- Snapshots ----

TEST_CASE("a snapshot has the same commit on two ps tasks even if no worker has reported it to the second one") {
  JobScript job = joined(drop_above(5), 3, 2);
  job.visit_others = false;
  job.push(1, 1);
  job.push(2, 2);
  job.visit_others = true;
  job.snapshot_begin();
  CHECK(job.push(0, 4).empty());  // decided after ps 0 has copied its part, and reported to ps 1 after its copy
  CHECK(job.snapshot_take() == Lines{"snapshot: step 2, value -3", "snapshot: step 2, value -3, samples 1:50 2:50",
                                     "0: stale by 2, step 3, sample 50, value -7"});
}

}  // namespace distmnist::trace
