// A whole ps whose run has failed: what each worker is told, when the process ends, and that the model does not outlive
// the run.
#include <cmath>

#include "lib/ps/server/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/stay_script.h"

namespace distmnist::trace {
namespace {

const std::string kWhy = "worker:1 pushed a gradient with nan in pred/weights at global_step 0";

// Three workers; two of them have sent their greeting.
struct Ps : PsTrace<PsCore> {
  Ps() : PsTrace(PsSetup{{0, 1, 3, kEpoch}}, actions, 0) {
    say(chief, chief.hello(kJob, 3, 1, 0));
    say(worker, worker.hello(kJob, 3, 1, 0));
    chief.run = worker.run = kRun;
    say(chief, chief.record(MessageType::kCreate, encode(small_model())));
    say(chief, chief.load(0, {0, 0}));
    say(chief, chief.load(2, {0}));
    say(chief, chief.plain(MessageType::kCreateEnd));
  }
  Lines push_nan() {
    ++worker.sequence;
    return say(worker, worker.push(0, {NAN, 1}));
  }
  Lines leave(Peer& peer) { return say(peer, peer.plain(MessageType::kLeave)); }
  bool ended_with_8() const {
    return core.end() && core.end()->code == ExitCode::kDiverged && holds(core.end()->reason, kWhy);
  }

  Peer chief = {.worker = 0, .chief = true, .route = "a"};
  Peer worker = {.worker = 1, .route = "b"};
  Peer late = {.worker = 2, .route = "c"};
};

}  // namespace

TEST_CASE(
    "every process of a failed run is refused with 8 and the same text, whether it was there before or arrives later") {
  Ps ps;
  const Lines out = ps.push_nan();
  REQUIRE(out.size() == 2);
  CHECK(holds(out[0], "a: refuse 8: " + kWhy));
  CHECK(holds(out[1], "b: refuse 8: " + kWhy));
  CHECK(holds(ps.say(ps.late, ps.late.hello(kJob, 3, 1, 0)).at(0), "c: refuse 8: " + kWhy));
  CHECK(holds(ps.say(ps.chief, ps.chief.hello(kJob, 3, 1, 0)).at(0), "a: refuse 8: " + kWhy));
  CHECK(holds(ps.say(ps.chief, ps.chief.plain(MessageType::kPull)).at(0), "a: refuse 8: " + kWhy));
  CHECK(holds(ps.say(ps.chief, ps.chief.plain(MessageType::kDone)).at(0), "a: refuse 8: " + kWhy));
}

TEST_CASE("the process ends with 8 when all workers have been told and are gone") {
  Ps ps;
  ps.push_nan();
  CHECK(ps.leave(ps.worker).empty());
  ps.leave(ps.chief);
  ps.tick(100);
  CHECK_FALSE(ps.core.end());  // worker:2 can still arrive
  ps.say(ps.late, ps.late.hello(kJob, 3, 1, 0));
  ps.tick(99 + kLastWordMs);
  CHECK_FALSE(ps.core.end());  // worker:2 gets a moment to end first
  ps.tick(100 + kLastWordMs);
  CHECK(ps.ended_with_8());
}

TEST_CASE("the process ends with 8 after a while even if workers are still there") {
  Ps ps;
  ps.push_nan();
  ps.tick(kSignalGraceMs - 1);
  CHECK_FALSE(ps.core.end());
  ps.tick(kSignalGraceMs);
  CHECK(ps.ended_with_8());
}

TEST_CASE("a worker that reports the failed run has left, and a worker that was done is not waited for") {
  Ps ps;
  ps.say(ps.late, ps.late.hello(kJob, 3, 1, 0));
  ps.say(ps.late, ps.late.plain(MessageType::kDone));
  const Lines out = ps.say(ps.worker, ps.worker.record(MessageType::kLeave, encode(RefuseRecord{8, kWhy})));
  CHECK(any_holds(out, "a: refuse 8: " + kWhy));
  CHECK_FALSE(any_holds(out, "b: refuse"));
  ps.leave(ps.chief);
  ps.tick(kLastWordMs);
  CHECK(ps.ended_with_8());
}

TEST_CASE("a signal to a ps whose run has failed ends it at once, with 8") {
  Ps ps;
  ps.push_nan();
  ps.core.on_signal(ExitCode::kTerminated, ps.now);
  ps.tick(100);
  CHECK(ps.ended_with_8());
}

TEST_CASE("with --ps_stay a failed run is dropped with its model, its processes are refused, and other runs continue") {
  StayScript ps;
  Peer a0 = chief_of("a", "a0"), a1 = worker_of("a", 1, "a1"), b0 = chief_of("b", "b0");
  ps.start(a0, 2);
  ps.greet(a1, 2);
  ps.start(b0, 1, kRun + 1);
  ps.ask(VariableAction::kInit, "a", "x", 5);
  CHECK(any_holds(ps.push(a1, {NAN, 1, 1}), "a0: refuse 8: worker:1 pushed a gradient with nan"));
  CHECK(any_holds(ps.actions.log_lines, "container 'a': the run has failed and its model is dropped: worker:1 pushed"));
  CHECK(holds(ps.greet(a0, 2).at(0), "a0: refuse 8: worker:1 pushed"));
  CHECK(ps.ask(VariableAction::kList, "a") == Lines{"admin: variable_answer 0 x=5"});

  CHECK(ps.push(b0, {5, 5, 5}) == parameters("b0", "-5 -5", "-5", 1));
  Peer next = chief_of("a", "next");
  next.incarnation = a0.incarnation + 1;
  CHECK(ps.greet(next, 2) == Lines{"next: welcome awaiting_model, step 0"});
  ps.tick(kSignalGraceMs);
  CHECK_FALSE(ps.core.end());
}

}  // namespace distmnist::trace
