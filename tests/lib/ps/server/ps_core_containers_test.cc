// PsCore with several containers on one ps. ps_core_test.cc has the other tests of PsCore.
#include "lib/ps/server/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/stay_script.h"

namespace distmnist::trace {

TEST_CASE("two runs of different size on one ps have separate models, steps and ends") {
  StayScript ps;
  Peer a0 = chief_of("a", "a0"), a1 = worker_of("a", 1, "a1"), b0 = chief_of("b", "b0");
  ps.start(a0, 2);
  ps.start(b0, 1, kRun + 1);
  CHECK(ps.greet(a1, 2) == Lines{"a1: welcome ready, step 0"});

  CHECK(ps.push(a0, {1, 1, 1}) == parameters("a0", "-1 -1", "-1", 1));
  CHECK(ps.push(b0, {5, 5, 5}) == parameters("b0", "-5 -5", "-5", 1));
  CHECK(ps.push(a1, {1, 1, 1}) == parameters("a1", "-2 -2", "-2", 2));

  CHECK(ps.done(b0) == Lines{"b0: done_ack"});
  CHECK(ps.push(a0, {1, 1, 1}) == parameters("a0", "-3 -3", "-3", 3));
  ps.done(a0);
  ps.done(a1);
  CHECK_FALSE(ps.core.end());
  CHECK(any_holds(ps.actions.log_lines, "container 'a': all workers are done; the variables stay"));
  CHECK(any_holds(ps.actions.log_lines, "container 'b': all workers are done; the variables stay"));
}

TEST_CASE("a container's name is part of a run: its messages do not reach the model of a different container") {
  StayScript ps;
  Peer a = chief_of("a", "a"), b = chief_of("b", "b");
  ps.start(a, 1);
  ps.start(b, 1);  // the same run and the same lease as a's
  Peer stray = a;
  stray.container = "b";
  stray.incarnation = a.incarnation + 1;
  stray.route = "stray";
  CHECK(ps.pull(stray) == Lines{"stray: stale"});
  CHECK(ps.push(a, {1, 1, 1}) == parameters("a", "-1 -1", "-1", 1));
  CHECK(ps.pull(b) == parameters("b", "0 0", "0", 0));
}

TEST_CASE("a container whose run has ended keeps its model, and accepts the same job only") {
  StayScript ps;
  Peer first = chief_of("a", "first");
  ps.start(first, 1);
  ps.push(first, {1, 1, 1});
  ps.done(first);
  ps.tick(10 * kLeaseMs);

  Peer same = chief_of("a", "same");
  same.incarnation = 20;
  CHECK(ps.greet(same, 1) == Lines{"same: welcome ended, step 1 done 0"});
  CHECK(ps.pull(same) == parameters("same", "-1 -1", "-1", 1));

  Peer other = chief_of("a", "other");
  other.incarnation = 30;
  const Lines refused = ps.greet(other, 1, {{"--model", "mlp"}});
  REQUIRE(refused.size() == 1);
  CHECK(holds(refused[0], "other: refuse 5: "));
  CHECK(holds(refused[0], "stop its ps tasks first or reset the container"));
  const Lines larger = ps.greet(other, 2);
  REQUIRE(larger.size() == 1);
  CHECK(holds(larger[0], "other: refuse 2: the cluster descriptions differ"));
  CHECK(holds(larger[0], "its own --container"));
}

TEST_CASE("a ps that stays has no deadlines, and only a signal ends it") {
  StayScript ps;
  Peer a = chief_of("a", "a");
  ps.tick(2 * kFirstWorkerMs);
  ps.start(a, 1);
  ps.tick(3 * kFirstWorkerMs);
  ps.tick(4 * kFirstWorkerMs);
  CHECK_FALSE(ps.core.end());
  CHECK_FALSE(any_holds(ps.actions.log_lines, "waiting for"));
  ps.core.on_signal(ExitCode::kTerminated, ps.now);
  ps.tick(ps.now + 100);
  REQUIRE(ps.core.end());
  CHECK(ps.core.end()->code == ExitCode::kTerminated);
}

TEST_CASE("after a signal a ps waits for the workers of every container") {
  StayScript ps;
  Peer a = chief_of("a", "a"), b = chief_of("b", "b");
  ps.start(a, 1);
  ps.start(b, 1);
  ps.core.on_signal(ExitCode::kTerminated, ps.now);
  ps.say(a, a.plain(MessageType::kLeave));
  ps.tick(ps.now + 100);
  CHECK_FALSE(ps.core.end());
  ps.say(b, b.plain(MessageType::kLeave));
  ps.tick(ps.now + 100);
  CHECK(ps.core.end());
}

TEST_CASE("with the largest number of containers a run is refused with exit 7 until one is dropped") {
  StayScript ps;
  for (std::size_t i = 0; i < kMaxContainers; ++i) {
    Peer chief = chief_of(fmt::format("c{}", i), fmt::format("route{}", i));
    ps.start(chief, 1);
    REQUIRE(chief.lease != 0);
  }
  Peer late = chief_of("late", "late");
  const Lines refused = ps.greet(late, 1);
  REQUIRE(refused.size() == 1);
  CHECK(holds(refused[0],
              "late: refuse 7: ps:0 already holds 64 containers, the most it can; drop one with distmnist reset"));
  CHECK(holds(ps.ask(VariableAction::kInit, "late", "x")[0], "refuse 7"));
  ps.reset({"c3"});
  CHECK(ps.greet(late, 1) == Lines{"late: welcome awaiting_model, step 0"});
}

TEST_CASE("a refused greeting creates no container") {
  StayScript ps;
  Peer a = chief_of("a", "a");
  CHECK(holds(ps.greet(a, 0)[0], "refuse 2: a run has 1 to 1024 workers, but this one has 0"));
  CHECK(holds(ps.greet(a, kMaxWorkers + 1)[0], "this one has 1025"));
  CHECK(holds(ps.say(a, a.hello(kJob, 3, 2, 1))[0], "refuse 2: the cluster descriptions differ"));
  Peer outside = worker_of("a", 7, "outside");
  CHECK(holds(ps.greet(outside, 3)[0], "refuse 2: worker:7 is not in the cluster"));
  Peer misnamed = chief_of("a b", "misnamed");
  CHECK(holds(ps.greet(misnamed, 1)[0], "refuse 2: invalid container name"));
  CHECK(ps.reset({}) == Lines{"admin: reset_done"});
}

TEST_CASE("a container that never got a model is free for a run of a different size when it has no process") {
  StayScript ps;
  Peer early = worker_of("a", 1, "early"), chief = chief_of("a", "chief");
  ps.greet(early, 2);
  CHECK(holds(ps.greet(chief, 1)[0], "refuse 2: the cluster descriptions differ"));
  ps.say(early, early.plain(MessageType::kLeave));
  ps.tick(100);
  CHECK(ps.greet(chief, 1) == Lines{"chief: welcome awaiting_model, step 0"});
}

TEST_CASE("without --ps_stay a second container is refused, and the message names the flag") {
  StayScript ps(false);
  Peer first = chief_of("a", "first"), second = chief_of("b", "second");
  ps.start(first, 1);
  CHECK(ps.greet(second, 1) ==
        Lines{"second: refuse 5: ps:0 serves a different container; start it with --ps_stay to serve several"});
}

}  // namespace distmnist::trace
