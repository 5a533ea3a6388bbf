// Synchronous training when answers get lost and questions come again; and snapshots in the middle of a step.
#include "lib/ps/server/container.h"

#include "tests/support/catch.h"
#include "tests/support/job_script.h"

namespace distmnist::trace {
namespace {

// Three workers, two gradients to a step; worker 0 and 1 have made the first.
JobScript after_first_step(std::uint32_t num_ps = 1) {
  JobScript job(synchronous(2), 3, num_ps);
  for (const std::uint32_t w : {0, 1, 2}) job.join(w);
  job.push(0, 2);
  job.push(1, 4);
  return job;
}

}  // namespace

// ---- Questions that come again ----

TEST_CASE("a push whose answer got lost counts once and is answered again, without a second token") {
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

TEST_CASE("a push that was dropped stays dropped when its question comes again") {
  JobScript job = after_first_step();
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.commit_again(2) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.stage_again(2, 100, 0).empty());
  CHECK(job.commit_again(2) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.push(2, 6).empty());
}

TEST_CASE("a push that counted is answered as such when its question comes again after the next step") {
  JobScript job = after_first_step();
  job.push(2, 100);
  job.push(2, 6);
  job.push(0, 2);  // Step 2, without worker 1: its answer about step 1 got lost.
  CHECK(job.commit_again(1) == Lines{"1: step 2, sample 50, value -7"});
}

TEST_CASE("a join whose answer got lost is answered again with the same token") {
  JobScript job(synchronous(2), 2);
  CHECK(job.join(0) == Lines{"0: step 0, sample 0, value 0"});
  CHECK(job.join_again(0) == Lines{"0: step 0, sample 0, value 0"});
  job.join(1);
  CHECK(job.push(0, 2).empty());
  CHECK(job.push(1, 4).size() == 2);
}

TEST_CASE("a late double of a question takes no token from the worker that is still computing") {
  JobScript job = after_first_step();
  CHECK(job.join_again(2) == Lines{"2: step 1, sample 0, value -3"});
  job.work_on(2, 0);  // It had the first answer and takes no notice of this one.
  CHECK(job.push(2, 100) == Lines{"2: dropped (stale by 1), step 1, sample 50, value -3"});
  CHECK(job.push(2, 6).empty());
}

TEST_CASE("the word for a push of which a part got lost is not answered; all of it comes again") {
  JobScript job(synchronous(1), 1);
  job.join(0);
  const Lines half = job.ps[0]->say(*job.session(0, 0), job.session(0, 0)->push(0, {3, 3}));
  CHECK(half.empty());
  CHECK(job.commit(0).empty());
  job.stage(0, 3, 0);
  CHECK(job.commit(0) == Lines{"0: step 1, sample 50, value -3"});
}

// ---- Snapshots ----

TEST_CASE("a gradient that counts but is not applied yet is not in a snapshot, and neither are its samples") {
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

TEST_CASE("a snapshot makes the second ps catch up with the updates that nobody has told it of") {
  JobScript job(synchronous(2), 2, 2);
  job.join(0);
  job.join(1);
  job.visit_others = false;
  job.push(0, 2);
  job.push(1, 4);
  job.snapshot_begin();
  CHECK(job.snapshot_take() == Lines{"snapshot: step 1, value -3", "snapshot: step 1, value -3, samples 0:50 1:50"});
}

TEST_CASE("a push that comes during a snapshot is decided after it") {
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

TEST_CASE("a snapshot whose chief has gone holds nobody up") {
  JobScript job(synchronous(2), 2);
  job.join(0);
  job.join(1);
  job.push(0, 2);
  job.snapshot_begin();
  CHECK(job.push(1, 4).empty());
  CHECK(job.pass(kSnapshotHoldMs) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 50, value -3"});
}

TEST_CASE("a worker that leaves during a snapshot, its push not decided, leaves its token to its successor") {
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

TEST_CASE("a push that waits for a snapshot when its process is replaced is forgotten") {
  JobScript job = after_first_step();
  job.snapshot_begin();
  CHECK(job.push(2, 100).empty());  // Of step 0: it would be dropped.
  job.restart(2);
  CHECK(job.join(2) == Lines{"2: step 1, sample 0, value -3"});
  job.stage(2, 6, 0);
  CHECK(job.snapshot_take() == Lines{"snapshot: step 1, value -3, samples 0:50 1:50"});
  CHECK(job.commit(2).empty());
  CHECK(job.push(0, 2) == Lines{"2: step 2, sample 50, value -7", "0: step 2, sample 100, value -7"});
}

}  // namespace distmnist::trace
