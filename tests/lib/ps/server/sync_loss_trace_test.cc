// Synchronous training with workers that die, return or restart.
#include "lib/ps/server/container.h"

#include "lib/ps/server/sync_replicas.h"
#include "tests/support/catch.h"
#include "tests/support/job_script.h"

namespace distmnist::trace {
namespace {

JobScript two_workers(OnLostWorker on_lost_worker, WaitLimits limits = {}) {
  JobScript job(synchronous(2, on_lost_worker), 2, 1, limits);
  job.join(0);
  job.join(1);
  return job;
}

}  // namespace

// ---- wait ----

TEST_CASE("wait: the token of a dead worker is kept for its successor, which computes the same batch") {
  JobScript job = two_workers(OnLostWorker::kWait);
  CHECK(job.push(0, 2).empty());
  CHECK(job.lose(1).empty());
  CHECK(job.pass(2 * kLostWorkerGraceMs).empty());
  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 0, sample 0, value 0"});
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("wait: pushes of a worker before its death count, and its successor continues after them") {
  JobScript job = two_workers(OnLostWorker::kWait);
  CHECK(job.push(1, 4).empty());
  CHECK(job.leave(1).empty());
  job.restart(1);
  CHECK(job.join(1).empty());  // it has contributed to this step
  CHECK(job.push(0, 2) == Lines{"1: step 1, sample 50, value -3", "0: step 1, sample 50, value -3"});
}

TEST_CASE("wait: if the lost task stays empty, the others give up at the deadline and name it") {
  JobScript job = two_workers(OnLostWorker::kWait, {.recovery_wait_ms = 60'000});
  job.push(0, 2);
  CHECK(job.lose(1).empty());
  CHECK(job.pass(44'500).empty());
  CHECK(job.pass(500) ==
        Lines{"0: refuse 138: gave up after waiting 60 s for worker:1 (1 of 2 gradients for step 1 have arrived)"});
}

TEST_CASE("a backup worker that dies delays no other worker and changes nothing") {
  JobScript job(synchronous(2, OnLostWorker::kShrink), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(0, 2);
  CHECK(job.lose(2).empty());
  CHECK(job.pass(2 * kLostWorkerGraceMs).empty());
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
  CHECK_FALSE(job.warned("a step now takes"));
}

// ---- shrink ----

TEST_CASE("shrink: after a while a step takes fewer gradients, and all again when the lost worker is back") {
  JobScript job = two_workers(OnLostWorker::kShrink);
  job.push(0, 2);
  CHECK(job.lose(1).empty());
  CHECK(job.pass(kLostWorkerGraceMs - 500).empty());
  CHECK(job.pass(500) == Lines{"0: step 1, sample 50, value -2"});
  CHECK(job.warned("workers are lost: a step now takes 1 gradients instead of 2 (--on_lost_worker=shrink)"));
  CHECK(job.push(0, 2) == Lines{"0: step 2, sample 100, value -4"});

  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 2, sample 0, value -4"});
  job.pass(500);
  CHECK(job.warned("workers are back: a step now takes 2 gradients instead of 1"));
  CHECK(job.push(0, 2).empty());
  CHECK(job.push(1, 4) == Lines{"0: step 3, sample 150, value -7", "1: step 3, sample 50, value -7"});
}

TEST_CASE("shrink: the mean is over the gradients that are there") {
  JobScript job(synchronous(3, OnLostWorker::kShrink), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(0, 2);
  job.push(1, 4);
  CHECK(job.lose(2).empty());
  CHECK(job.pass(kLostWorkerGraceMs) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("shrink: a worker that never arrives is not waited for longer than for any lost peer") {
  JobScript job(synchronous(2, OnLostWorker::kShrink), 2, 1, {.recovery_wait_ms = 20'000});
  job.join(0);
  job.push(0, 2);
  CHECK(job.pass(19'500).empty());
  CHECK(job.pass(500) == Lines{"0: step 1, sample 50, value -2"});
}

TEST_CASE("shrink: if all workers are gone, the run waits for the next one") {
  JobScript job = two_workers(OnLostWorker::kShrink);
  job.leave(0);
  job.leave(1);
  CHECK(job.pass(2 * kLostWorkerGraceMs).empty());
  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 0, sample 0, value 0"});
  CHECK(job.push(1, 4) == Lines{"1: step 1, sample 50, value -4"});
}

// ---- fail ----

TEST_CASE("fail: after a while the run ends with 138 for all waiting workers, current and later ones") {
  JobScript job(synchronous(3, OnLostWorker::kFail), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(0, 2);
  CHECK(job.lose(2).empty());
  CHECK(job.pass(kLostWorkerGraceMs - 500).empty());
  const std::string words =
      "refuse 138: worker:2 lost: only 2 workers left, but a step needs 3 gradients (--on_lost_worker=fail)";
  CHECK(job.pass(500) == Lines{"0: " + words});
  CHECK(job.push(1, 4).empty());
  CHECK(job.pass(500) == Lines{"1: " + words});
}

TEST_CASE("fail: a task whose new process arrives in time is not lost") {
  JobScript job = two_workers(OnLostWorker::kFail);
  job.push(0, 2);
  job.lose(1);
  job.pass(kLostWorkerGraceMs - 500);
  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 0, sample 0, value 0"});
  CHECK(job.pass(2 * kLostWorkerGraceMs).empty());
  CHECK(job.push(1, 4).size() == 2);
}

// ---- Several batches of a worker per step ----

TEST_CASE("if several batches make a step, the tokens of a dead worker go to the others") {
  JobScript job(synchronous(3), 2);
  job.join(0);
  job.join(1);
  CHECK(job.push(0, 1).size() == 1);
  CHECK(job.push(0, 1).empty());
  CHECK(job.lose(1) == Lines{"0: step 0, sample 100, value 0"});
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 150, value -1"});
}

// ---- Processes that restart or were only away ----

TEST_CASE("a restarted chief does not get its tokens again") {
  SECTION("it holds its token") {
    JobScript job = two_workers(OnLostWorker::kWait);
    CHECK(job.restart(0).empty());
    CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
    CHECK(job.push(0, 2).empty());
    CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
    CHECK(job.push(0, 2).empty());
  }
  SECTION("it has pushed") {
    JobScript job = two_workers(OnLostWorker::kWait);
    CHECK(job.push(0, 2).empty());
    CHECK(job.restart(0).empty());
    CHECK(job.join(0).empty());
    CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
    CHECK(job.push(0, 2).empty());
  }
}

TEST_CASE("a worker that was only away and then pushes has no second token for the step") {
  JobScript job(synchronous(3), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  CHECK(job.lose(1).empty());
  CHECK(job.come_back(1).empty());
  CHECK(job.push(1, 4).empty());
  CHECK(job.push(0, 2).empty());
  CHECK(job.push(2, 3).size() == 3);
}

TEST_CASE("if several batches make a step, a worker that was away takes back the token that it gave up") {
  JobScript job(synchronous(3), 2);
  job.join(0);
  job.join(1);
  CHECK(job.lose(1).empty());
  CHECK(job.come_back(1).empty());
  CHECK(job.push(1, 3) == Lines{"1: step 0, sample 50, value 0"});
  CHECK(job.push(0, 3).empty());  // no fourth token
  CHECK(job.push(1, 3) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 100, value -3"});
}

TEST_CASE("a worker that was away for a step is dropped once, and gets the token of the new step") {
  JobScript job = two_workers(OnLostWorker::kShrink);
  job.push(0, 2);
  job.lose(1);
  job.pass(kLostWorkerGraceMs);
  CHECK(job.come_back(1).empty());
  CHECK(job.pass(500).empty());  // a step takes two gradients again from here
  CHECK(job.push(1, 100) == Lines{"1: dropped (stale by 1), step 1, sample 50, value -2"});
  CHECK(job.push(1, 4).empty());
  CHECK(job.push(0, 2) == Lines{"1: step 2, sample 100, value -5", "0: step 2, sample 100, value -5"});
}

}  // namespace distmnist::trace
