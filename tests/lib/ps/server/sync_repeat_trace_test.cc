// Synchronous training with lost answers and repeated questions, and snapshots in the middle of a step.
#include "lib/ps/server/container.h"

#include "tests/support/catch.h"
#include "tests/support/job_script.h"

namespace distmnist::trace {
namespace {

// Three workers, two gradients per step; workers 0 and 1 have made the first step.
JobScript after_first_step(std::uint32_t num_ps = 1) {
  JobScript job(synchronous(2), 3, num_ps);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(0, 2);
  job.push(1, 4);
  return job;
}

}  // namespace

// ---- Repeated questions ----

TEST_CASE("a push whose answer was lost counts once and is answered again, without a second token") {
  JobScript job(synchronous(2), 2);
  job.join(0);
  job.join(1);
  CHECK(job.push(0, 2).empty());
  CHECK(job.commit_again(0).empty());
  CHECK(job.stage_again(0, 2, 0).empty());
  CHECK(job.commit_again(0).empty());
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
  CHECK(job.commit_again(0) == Lines{"0: step 1, sample 50, value -3"});
  CHECK(job.push(0, 2).empty());
  CHECK(job.push(1, 4) == Lines{"0: step 2, sample 100, value -6", "1: step 2, sample 100, value -6"});
}

TEST_CASE("a dropped push stays dropped when its question is repeated") {
  JobScript job = after_first_step();
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.commit_again(2) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.stage_again(2, 100, 0).empty());
  CHECK(job.commit_again(2) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.push(2, 6).empty());
}

TEST_CASE("a push that counted is answered the same way when its question is repeated after the next step") {
  JobScript job = after_first_step();
  job.push(2, 100);
  job.push(2, 6);
  job.push(0, 2);  // step 2, without worker 1, whose answer about step 1 was lost
  CHECK(job.commit_again(1) == Lines{"1: step 2, sample 50, value -7"});
}

TEST_CASE("a join whose answer was lost is answered again with the same token") {
  JobScript job(synchronous(2), 2);
  CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
  CHECK(job.join_again(0) == Lines{"0: step 0, sample 0, value 0"});
  job.join(1);
  CHECK(job.push(0, 2).empty());
  CHECK(job.push(1, 4).size() == 2);
}

TEST_CASE("a late duplicate of a question takes no token from a worker that is still computing") {
  JobScript job = after_first_step();
  CHECK(job.join_again(2) == Lines{"2: step 1, sample 0, value -3"});
  job.work_on(2, 0);  // it had the first answer and ignores this one
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.push(2, 6).empty());
}

TEST_CASE("the commit of an incomplete push is not answered until the whole push is sent again") {
  JobScript job(synchronous(1), 1);
  job.join(0);
  const Lines half = job.ps[0]->say(*job.session(0, 0), job.session(0, 0)->push(0, {3, 3}));
  CHECK(half.empty());
  CHECK(job.commit(0).empty());
  job.stage(0, 3, 0);
  CHECK(job.commit(0) == Lines{"0: step 1, sample 50, value -3"});
}

// ---- Snapshots ----

TEST_CASE("a gradient that counts but is not applied yet is not in a snapshot, and its samples are not either") {
  for (const std::uint32_t num_ps : {1u, 2u}) {
    JobScript job(synchronous(2), 2, num_ps);
    job.join(0);
    job.join(1);
    job.push(0, 2);
    job.push(1, 4);
    job.push(1, 6);
    CHECK(job.snapshot_begin().empty());
    Lines expected = {"snapshot: step 1, value -3, samples 0:50 1:50"};
    if (num_ps == 2) expected.insert(expected.begin(), "snapshot: step 1, value -3");
    CHECK(job.snapshot_take() == expected);
    CHECK(job.push(0, 0) == Lines{"1: step 2, sample 100, value -6", "0: step 2, sample 100, value -6"});
  }
}

TEST_CASE("a snapshot makes the second ps apply updates that no worker has reported to it") {
  JobScript job(synchronous(2), 2, 2);
  job.join(0);
  job.join(1);
  job.visit_others = false;
  job.push(0, 2);
  job.push(1, 4);
  job.snapshot_begin();
  CHECK(job.snapshot_take() == Lines{"snapshot: step 1, value -3", "snapshot: step 1, value -3, samples 0:50 1:50"});
}

TEST_CASE("a push that arrives during a snapshot is decided after it") {
  JobScript job(synchronous(2), 2);
  job.join(0);
  job.join(1);
  job.push(0, 2);
  job.snapshot_begin();
  CHECK(job.push(1, 4).empty());
  CHECK(job.commit_again(1).empty());
  CHECK(job.snapshot_take() ==
        Lines{"snapshot: step 0, value 0", "0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("a snapshot whose chief has died delays no worker") {
  JobScript job(synchronous(2), 2);
  job.join(0);
  job.join(1);
  job.push(0, 2);
  job.snapshot_begin();
  CHECK(job.push(1, 4).empty());
  CHECK(job.pass(kSnapshotHoldMs) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("a worker that leaves during a snapshot before its push is decided leaves its token to its successor") {
  JobScript job(synchronous(2), 2);
  job.join(0);
  job.join(1);
  job.snapshot_begin();
  CHECK(job.push(1, 100).empty());
  job.leave(1);
  CHECK(job.snapshot_take() == Lines{"snapshot: step 0, value 0"});
  job.restart(1);
  CHECK(job.join(1) == Lines{"1: step 0, sample 0, value 0"});
  job.push(0, 2);
  CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("a push that waits for a snapshot is forgotten when its process is replaced") {
  JobScript job = after_first_step();
  job.snapshot_begin();
  CHECK(job.push(2, 100).empty());  // it is from step 0 and would be dropped
  job.restart(2);
  CHECK(job.join(2) == Lines{"2: step 1, sample 0, value -3"});
  job.stage(2, 6, 0);
  CHECK(job.snapshot_take() == Lines{"snapshot: step 1, value -3, samples 0:50 1:50"});
  CHECK(job.commit(2).empty());
  CHECK(job.push(0, 2) == Lines{"2: step 2, sample 50, value -7", "0: step 2, sample 100, value -7"});
}

}  // namespace distmnist::trace
