// Exceptions in a ps: a message that causes one never ends the process or a different session.
#include <new>
#include <set>
#include <stdexcept>
#include <utility>

#include "lib/ps/server/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/stay_script.h"

namespace distmnist::trace {
namespace {

// A ps whose send function fails when the test requests it.
struct Failing {
  struct Actions : PsRecorder {
    void send(const Route& to, Message&& message) override {
      if (fails && (only_to.empty() || to == only_to)) {
        if (once) fails = false;
        if (memory) throw std::bad_alloc();
        throw std::runtime_error("a queue is full");
      }
      PsRecorder::send(to, std::move(message));
    }
    bool fails = false, once = false, memory = false;
    Route only_to;
  };

  Failing() {
    for (Peer* peer : {&chief, &worker}) say(*peer, peer->hello(kJob, 2, 1, 0));
    chief.run = kRun;
    say(chief, chief.record(MessageType::kCreate, encode(small_model())));
    say(chief, chief.load(0, {0, 0}));
    say(chief, chief.load(2, {0}));
    say(chief, chief.plain(MessageType::kCreateEnd));
  }
  Lines say(Peer& peer, Message message) {
    core.on_message(Sender{peer.route}, received(std::move(message)), 0);
    Lines out;
    for (const PsRecorder::Sent& sent : std::exchange(actions.sent, {})) {
      out.push_back(sent.to + ": " + describe(sent.message));
      Peer& to = sent.to == chief.route ? chief : worker;
      if (sent.message.header.type == MessageType::kWelcome) to.learn(sent.message.header);
    }
    return out;
  }

  Actions actions;
  PsCore core{PsSetup{{0, 1, 2, kEpoch}}, actions, 0};
  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a"};
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b"};
};

}  // namespace

TEST_CASE("a message that causes an exception ends only its own session and connection") {
  Failing ps;
  ps.actions.fails = true;
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPull)).empty());
  ps.actions.fails = false;
  CHECK(ps.actions.was_cut == std::set<Route>{"b"});
  CHECK(any_holds(ps.actions.log_lines, "a message of type 5 failed: a queue is full"));
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPull)) == Lines{"b: stale"});
  CHECK(ps.say(ps.chief, ps.chief.plain(MessageType::kPull)).size() == 2);
  CHECK(ps.say(ps.worker, ps.worker.hello(kJob, 2, 1, 0)) == Lines{"b: welcome ready, step 0"});
}

TEST_CASE("an update that fails halfway ends the run, because half of it would be in the model") {
  Failing ps;
  ++ps.worker.sequence;
  ps.say(ps.worker, ps.worker.push(0, {1, 1}));
  ps.actions.fails = ps.actions.once = true;
  const Lines out = ps.say(ps.worker, ps.worker.push(2, {1}));
  CHECK(any_holds(out, "a: refuse 8: an update could not be finished: a queue is full; resume from the newest"));
  CHECK(any_holds(out, "b: refuse 8: an update could not be finished"));
  CHECK(holds(ps.say(ps.chief, ps.chief.plain(MessageType::kPull)).at(0), "a: refuse 8: an update could not be"));
}

TEST_CASE("a message without enough memory is refused with exit 7, and the session continues") {
  Failing ps;
  ps.actions.fails = ps.actions.once = ps.actions.memory = true;
  const Lines out = ps.say(ps.worker, ps.worker.plain(MessageType::kPull));
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "b: refuse 7: ps:0 does not have the memory for this"));
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPing)) == Lines{"b: pong"});
  ps.actions.fails = true;
  ps.actions.once = false;
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPull)).empty());  // not even enough for the refusal
  CHECK(ps.actions.was_cut == std::set<Route>{"b"});
}

TEST_CASE("an exception on a tick does not end the process") {
  Failing ps;
  Peer newcomer = {.worker = 1, .incarnation = 11, .route = "c"};
  ps.say(newcomer, newcomer.hello(kJob, 2, 1, 0));
  ps.actions.fails = true;
  ps.core.on_tick(kProbeMs);
  ps.actions.fails = false;
  CHECK(any_holds(ps.actions.log_lines, "a periodic task failed: a queue is full"));
  CHECK(ps.say(ps.chief, ps.chief.plain(MessageType::kPing)) == Lines{"a: pong"});
}

}  // namespace distmnist::trace
