// The rules of synchronous training, tested message by message: what counts, what is dropped, and when a worker may
// continue.
#include "lib/ps/server/container.h"

#include "tests/support/catch.h"
#include "tests/support/job_script.h"

namespace distmnist::trace {

// ---- N = R ----

TEST_CASE("with as many gradients as workers all continue in lockstep, with the mean of their gradients") {
  for (const std::uint32_t num_ps : {1u, 2u}) {
    JobScript job(synchronous(2), 2, num_ps);
    CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
    CHECK(job.join(1) == Lines{"1: step 0, sample 0, value 0"});
    CHECK(job.push(0, 2).empty());
    CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
    CHECK(job.push(1, 6).empty());
    CHECK(job.push(0, 0) == Lines{"1: step 2, sample 100, value -6", "0: step 2, sample 100, value -6"});
  }
}

TEST_CASE("a worker that fills a step alone never waits") {
  JobScript job(synchronous(1), 1);
  CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
  CHECK(job.push(0, 1) == Lines{"0: step 2, sample 100, value -2"});
}

TEST_CASE("gradients are summed in order of the workers, in any order of arrival") {
  // In float, (1e8 - 1e8) + 1 is 1, and (1e8 + 1) - 1e8 is 0.
  for (const std::vector<std::uint32_t>& order : {std::vector<std::uint32_t>{0, 1, 2}, {0, 2, 1}, {2, 1, 0}}) {
    JobScript job(synchronous(3), 3);
    const float gradients[] = {1e8f, -1e8f, 1};
    for (const std::uint32_t w : order) job.join(w);
    job.push(order[0], gradients[order[0]]);
    job.push(order[1], gradients[order[1]]);
    const Lines out = job.push(order[2], gradients[order[2]]);
    REQUIRE(out.size() == 3);
    CHECK(holds(out[0], "step 1, sample 50, value -0.33333334"));
  }
}

TEST_CASE("a waiting worker is told which workers it waits for, after one second and then every ten") {
  JobScript job(synchronous(3), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(1, 1);
  CHECK(job.pass(500).empty());
  CHECK(job.take_notices().empty());
  job.pass(500);
  const std::string words = "1: notice: waiting for worker:0, worker:2 (1 of 3 gradients for step 1 have arrived)";
  CHECK(job.take_notices() == Lines{words});
  job.pass(kNoticeEveryMs - 500);
  CHECK(job.take_notices().empty());
  job.pass(500);
  CHECK(job.take_notices() == Lines{words});
}

// ---- N > R: backup workers ----

TEST_CASE("the gradient of a straggler is dropped and it continues at once; the next one counts") {
  for (const std::uint32_t num_ps : {1u, 2u}) {
    JobScript job(synchronous(2), 3, num_ps);
    for (const std::uint32_t w : {0, 1, 2}) job.join(w);
    CHECK(job.push(0, 2).empty());
    CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
    CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
    CHECK(job.push(2, 6).empty());
    CHECK(job.push(0, 2) == Lines{"2: step 2, sample 100, value -7", "0: step 2, sample 100, value -7"});
    CHECK(job.push(1, 100) == Lines{"1: dropped (stale by 1), step 2, sample 100, value -7"});
  }
}

TEST_CASE("a fast worker has one token per step and does not fill a step alone") {
  JobScript job(synchronous(2), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  CHECK(job.push(0, 2).empty());
  CHECK(job.join(0).empty());  // the tokens of the others are not available to it
  CHECK(job.pass(2 * kNoticeEveryMs).empty());
}

TEST_CASE("an unused token expires at the next step") {
  JobScript job(synchronous(2), 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  for (int step = 1; step <= 3; ++step) {
    job.push(0, 1);
    CHECK(job.push(1, 1).size() == 2);
  }
  // Worker 2 has not taken its tokens of steps 1 and 2: it gets one token of step 3.
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 3), step 3, sample 50, value -3"});
  CHECK(job.push(2, 1).empty());
}

TEST_CASE("a late worker joins the current step") {
  JobScript job(synchronous(2), 3);
  for (const std::uint32_t w : {0, 1}) job.join(w);
  job.push(0, 2);
  job.push(1, 2);
  CHECK(job.join(2) == Lines{"2: step 1, sample 0, value -2"});
  CHECK(job.push(2, 4).empty());
  CHECK(job.push(1, 4) == Lines{"2: step 2, sample 50, value -6", "1: step 2, sample 100, value -6"});
}

TEST_CASE("with two ps tasks a late push that reached one of them first counts on neither") {
  JobScript job(synchronous(2), 3, 2);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  CHECK(job.stage(2, 100, 1).empty());  // in time at ps 1,
  job.push(0, 2);
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
  CHECK(job.stage_again(2, 100, 0).empty());  // late at ps 0, which decides
  CHECK(job.commit(2) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
}

TEST_CASE("with two ps tasks a push whose worker died before it was complete everywhere counts on neither") {
  JobScript job(synchronous(2), 3, 2);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.stage(2, 100, 0);
  job.leave(2);
  job.push(0, 2);
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("an update is reported by the next worker if all its workers died before they told the second ps") {
  JobScript job(synchronous(2), 3, 2);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.visit_others = false;
  job.push(0, 2);
  job.push(1, 4);
  job.leave(0);
  job.leave(1);
  job.visit_others = true;
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
}

// ---- N < R: several batches of a worker per step ----

TEST_CASE("with fewer workers than gradients each has a token, and the others go to the first workers that ask") {
  for (const std::uint32_t num_ps : {1u, 2u}) {
    JobScript job(synchronous(4), 2, num_ps);
    job.join(0);
    job.join(1);
    CHECK(job.push(0, 1) == Lines{"0: step 0, sample 50, value 0"});
    CHECK(job.push(0, 2) == Lines{"0: step 0, sample 100, value 0"});
    CHECK(job.push(0, 3).empty());  // the fourth token is worker 1's
    CHECK(job.push(1, 10) == Lines{"0: step 1, sample 150, value -4", "1: step 1, sample 50, value -4"});
    // Each has a token again, which it holds, and there are two to share.
    CHECK(job.push(1, 2) == Lines{"1: step 1, sample 100, value -4"});
    CHECK(job.push(0, 2) == Lines{"0: step 1, sample 200, value -4"});
    CHECK(job.push(0, 2).empty());
    CHECK(job.push(1, 2) == Lines{"0: step 2, sample 250, value -6", "1: step 2, sample 150, value -6"});
  }
}

TEST_CASE("if several batches make a step, the first token of a worker that has not arrived is kept for a while") {
  JobScript job(synchronous(3), 2, 1, {.recovery_wait_ms = 20'000});
  job.join(0);
  CHECK(job.push(0, 3) == Lines{"0: step 0, sample 50, value 0"});
  CHECK(job.push(0, 3).empty());
  job.pass(1000);
  CHECK(job.take_notices() == Lines{"0: notice: waiting for worker:1 (2 of 3 gradients for step 1 have arrived)"});
  CHECK(job.pass(18'500).empty());
  CHECK(job.pass(500) == Lines{"0: step 0, sample 100, value 0"});  // it is given to the worker that is there
  CHECK(job.push(0, 3) == Lines{"0: step 1, sample 150, value -3"});
}

// ---- The end ----

TEST_CASE("at the last step no worker waits any more") {
  Strategy strategy = synchronous(2);
  strategy.train_steps = 1;
  JobScript job(strategy, 3);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(0, 2);
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  for (const std::uint32_t w : {0, 1, 2, 0}) CHECK(job.join(w).size() == 1);
}

}  // namespace distmnist::trace
