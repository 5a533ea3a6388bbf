// Gradients with numbers that must not be applied, tested message by message: what ends the run, what is skipped, and
// that no part of them is ever applied.
#include <cmath>

#include "lib/ps/server/container.h"
#include "tests/support/catch.h"
#include "tests/support/container_job.h"
#include "tests/support/job_script.h"

namespace distmnist::trace {
namespace {

Strategy skipping(Strategy strategy) {
  strategy.on_nan = OnNan::kSkip;
  return strategy;
}

JobScript joined(const Strategy& strategy, std::uint32_t num_workers, std::uint32_t num_ps = 1) {
  JobScript job(strategy, num_workers, num_ps);
  for (std::uint32_t w = 0; w < num_workers; ++w) job.join(w);
  return job;
}

// A push that is bad on ps k only.
Lines push_bad_on(JobScript& job, std::uint32_t w, std::uint32_t k) {
  Lines out = job.stage(w, k == 0 ? NAN : 1.0f, 0);
  for (std::uint32_t other = 1; other < job.ps.size(); ++other) {
    for (const std::string& line : job.stage_again(w, k == other ? NAN : 1.0f, other)) out.push_back(line);
  }
  for (const std::string& line : job.commit(w)) out.push_back(line);
  return out;
}

}  // namespace

// ---- fail ----

TEST_CASE("a push with a number that is not finite ends the run before any of it is applied") {
  const auto failed_with = [](std::vector<float> gradient, WireDtype dtype, const std::string& words) {
    Job job({10, 20, 30});
    job.worker.wire_dtype = dtype;
    job.worker.step = 4;
    job.push(job.worker, gradient);
    REQUIRE(job.core.failure());
    CHECK(holds(*job.core.failure(), words));
    CHECK(holds(*job.core.failure(), "; drop such gradients with --on_nan=skip, or lower --learning_rate"));
    CHECK_FALSE(any_holds(job.pull(job.chief), "parameters"));
  };
  failed_with({1, NAN, 1}, WireDtype::kF32, "worker:1 pushed a gradient with nan in pred/weights at global_step 4;");
  failed_with({1, 1, -INFINITY}, WireDtype::kF32, "infinity in pred/biases at global_step 4;");
  failed_with({1e22f, 1, 1}, WireDtype::kF32, "1e+22 (beyond 1e+15) in pred/weights");
  failed_with({1, 1, NAN}, WireDtype::kBf16, "nan in pred/biases");
  failed_with({1e18f, 1, 1}, WireDtype::kBf16, "(beyond 1e+15) in pred/weights");
  failed_with({1, 1, 70000}, WireDtype::kF16, "infinity in pred/biases");
}

TEST_CASE("the run fails at the first bad chunk, whether the push is completed or not") {
  Job job;
  ++job.worker.sequence;
  CHECK(job.say(job.worker, job.worker.push(2, {NAN})).empty());
  CHECK(job.core.failure());
}

TEST_CASE("large gradients that can be squared are applied") {
  Job job;
  CHECK(job.push(job.worker, {1e15f, -1e15f, 1}) == parameters("b", "-1000000000000000 1000000000000000", "-1", 1));
  CHECK_FALSE(job.core.failure());
}

TEST_CASE("a bad chunk that belongs to no push, run or session ends nothing") {
  Job job;
  ++job.worker.sequence;
  job.say(job.worker, job.worker.push(0, {NAN, NAN, NAN}));  // not a chunk of this shard
  Peer stranger = job.worker;
  ++stranger.lease;
  job.say(stranger, stranger.push(0, {NAN, NAN}));
  Peer of_old_run = job.worker;
  ++of_old_run.run;
  job.say(of_old_run, of_old_run.push(0, {NAN, NAN}));
  CHECK_FALSE(job.core.failure());
  CHECK(job.push(job.worker, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1));
}

TEST_CASE(
    "a worker that leaves because its run failed ends the run for all; one that leaves for another reason does not") {
  Job job;
  const auto leave = [&](Peer& peer, int code) {
    job.say(peer, peer.record(MessageType::kLeave, encode(RefuseRecord{code, "worker:1: the loss is nan"})));
  };
  job.say(job.worker, job.worker.plain(MessageType::kLeave));
  CHECK_FALSE(job.core.failure());
  Peer second = successor_of(job.worker);
  job.greet(second);
  leave(second, 7);
  CHECK_FALSE(job.core.failure());
  Peer third = successor_of(second);
  job.greet(third);
  leave(third, 8);
  CHECK(job.core.failure() == "worker:1: the loss is nan");
}

TEST_CASE("a model with numbers that are not finite is refused") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  ps.begin_create(chief);
  const Lines out = ps.say(chief, chief.load(0, {1, NAN}));
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "a: refuse 3: an initial value of the model is not finite"));
  ps.say(chief, chief.load(0, {1, 1}));
  ps.say(chief, chief.load(2, {1}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)).empty());
  CHECK_FALSE(ps.core.has_model());
}

// ---- skip ----

TEST_CASE("skip: a bad push is dropped on all ps tasks, whichever of them finds it bad, and its worker continues") {
  for (const std::uint32_t num_ps : {1u, 2u}) {
    for (std::uint32_t bad = 0; bad < num_ps; ++bad) {
      CAPTURE(num_ps, bad);
      JobScript job = joined(skipping(asynchronous()), 2, num_ps);
      CHECK(job.push(0, 1) == Lines{"0: step 1, sample 50, value -1"});
      CHECK(push_bad_on(job, 1, bad) == Lines{"1: dropped (not finite), step 1, sample 50, value -1"});
      CHECK(job.push(1, 1) == Lines{"1: step 2, sample 100, value -2"});
      CHECK(job.push(0, 1) == Lines{"0: stale by 1, step 3, sample 100, value -3"});
      CHECK(job.warned("worker:1 "));
      for (const auto& ps : job.ps) CHECK_FALSE(ps->core.failure());
    }
  }
}

TEST_CASE("skip: a worker can withdraw its own push although its numbers are finite") {
  JobScript job = joined(skipping(asynchronous()), 1, 2);
  job.stage(0, 1, 0);
  job.stage_again(0, 1, 1);
  job.call_bad(0);
  CHECK(job.commit(0) == Lines{"0: dropped (not finite), step 0, sample 50, value 0"});
  CHECK(job.push(0, 1) == Lines{"0: step 1, sample 100, value -1"});
}

TEST_CASE("skip: a decision stays the same, however often it is asked for") {
  JobScript job = joined(skipping(asynchronous()), 2, 2);
  CHECK(push_bad_on(job, 1, 1) == Lines{"1: dropped (not finite), step 0, sample 50, value 0"});
  CHECK(job.commit_again(1) == Lines{"1: dropped (not finite), step 0, sample 50, value 0"});
  job.push(0, 1);
  CHECK(job.stage_again(1, NAN, 1).empty());
  CHECK(job.commit_again(1) == Lines{"1: dropped (not finite), step 1, sample 50, value -1"});
}

TEST_CASE("skip: a synchronous step takes another batch in place of a bad one") {
  for (const std::uint32_t num_ps : {1u, 2u}) {
    JobScript job = joined(skipping(synchronous(2)), 2, num_ps);
    CHECK(job.push(0, 2).empty());
    CHECK(push_bad_on(job, 1, num_ps - 1) == Lines{"1: dropped (not finite), step 0, sample 50, value 0"});
    CHECK(job.push(1, 4) == Lines{"0: step 1, sample 50, value -3", "1: step 1, sample 100, value -3"});
  }
}

TEST_CASE("skip: with several batches per step, bad pushes do not displace good ones") {
  constexpr std::uint32_t kReplicas = 40;
  JobScript job = joined(skipping(synchronous(kReplicas)), 1, 2);
  for (std::uint32_t i = 1; i < kReplicas; ++i) {
    REQUIRE(job.push(0, 1).size() == 1);
    REQUIRE(any_holds(push_bad_on(job, 0, i % 2), "0: dropped (not finite)"));
  }
  CHECK(any_holds(job.push(0, 1), "0: step 1,"));
}

TEST_CASE("skip: if a worker dies before the other ps tasks know the decision, an ignored push ends with its step") {
  JobScript job = joined(skipping(asynchronous()), 2, 2);
  job.visit_others = false;
  CHECK(any_holds(push_bad_on(job, 1, 1), "1: dropped (not finite)"));
  job.visit_others = true;
  job.restart(1);
  job.join(1);
  CHECK(job.push(1, 1) == Lines{"1: step 1, sample 100, value -1"});
}

TEST_CASE("skip: consecutive bad pushes of one worker end the run") {
  JobScript job = joined(skipping(asynchronous()), 2);
  for (int i = 1; i < kMaxSkippedInARow; ++i) job.push(1, NAN);
  job.push(1, 1);  // the model is intact
  for (int i = 1; i < kMaxSkippedInARow; ++i) REQUIRE(any_holds(job.push(1, NAN), "dropped (not finite)"));
  CHECK(any_holds(job.push(0, NAN), "0: dropped (not finite)"));
  CHECK_FALSE(job.ps[0]->core.failure());
  CHECK(job.push(1, NAN).empty());
  REQUIRE(job.ps[0]->core.failure());
  CHECK(holds(*job.ps[0]->core.failure(),
              "worker:1 pushed a gradient with nan in pred/weights at global_step 1, the 10th in a row, so "
              "the model itself is ruined"));
}

TEST_CASE("skip: a push that a ps has found bad is not applied there even if its worker reports it as good") {
  JobScript job = joined(skipping(asynchronous()), 1, 2);
  job.stage(0, 1, 0);
  job.stage_again(0, NAN, 1);
  job.call_bad(0, false);
  job.commit(0);
  REQUIRE(job.ps[1]->core.failure());
  CHECK(holds(*job.ps[1]->core.failure(), "worker:0 pushed a gradient with nan in pred/weights"));
}

TEST_CASE("skip: a bad push during a snapshot is dropped after it") {
  JobScript job = joined(skipping(asynchronous()), 2, 2);
  job.push(0, 1);
  job.snapshot_begin();
  CHECK(push_bad_on(job, 1, 1).empty());
  const Lines out = job.snapshot_take();
  CHECK(any_holds(out, "snapshot: step 1, value -1"));
  CHECK(any_holds(out, "1: dropped (not finite), step 1, sample 50, value -1"));
}

}  // namespace distmnist::trace
