#include "lib/ps/server/turns.h"

#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using trace::Lines;
constexpr TimeMs kMaxWaitMs = 30'000;

Strategy synchronous(std::uint32_t replicas) {
  Strategy strategy;
  strategy.sync = true;
  strategy.replicas_to_aggregate = replicas;
  strategy.on_lost_worker = OnLostWorker::kWait;
  strategy.train_steps = 100;
  return strategy;
}

// The questions of workers, and the resulting turns as "worker:sequence".
struct Script {
  explicit Script(const Strategy& strategy, std::uint32_t num_workers = 2)
      : turns(strategy, num_workers, 0, kMaxWaitMs) {}

  Header header(MessageType type, std::uint32_t worker, std::uint64_t sequence, std::uint64_t incarnation = 10) const {
    Header out;
    out.type = type;
    out.worker = worker;
    out.sequence = sequence;
    out.incarnation = incarnation;
    out.step = step;
    return out;
  }
  Lines join(std::uint32_t worker, std::uint64_t sequence, std::uint64_t incarnation = 10) {
    turns.join("route", header(MessageType::kJoin, worker, sequence, incarnation), now);
    return grants();
  }
  Lines decide(std::uint32_t worker, std::uint64_t sequence) {
    turns.decide("route", header(MessageType::kCommit, worker, sequence), step, now);
    return grants();
  }
  Lines grants() {
    while (turns.next_update(now)) ++step;
    Lines out;
    while (const auto grant = turns.next_grant(step, now)) {
      out.push_back(fmt::format("{}:{}", grant->request.worker, grant->request.sequence));
      last = *grant;
      routes += grant->route + " ";
    }
    return out;
  }
  Turns::Known known(std::uint32_t worker, std::uint64_t sequence, std::uint64_t incarnation = 10) const {
    return turns.known(header(MessageType::kCommit, worker, sequence, incarnation));
  }

  Turns turns;
  TimeMs now = 0;
  std::int64_t step = 0;
  Turns::Grant last;
  std::string routes;  // of all answers
};

}  // namespace

TEST_CASE("a push before its worker's turn, or from future parameters, does not count") {
  Script script(synchronous(2));
  CHECK(script.join(0, 1) == Lines{"0:1"});
  CHECK(script.join(1, 1) == Lines{"1:1"});
  const auto accepted = [&](std::uint64_t sequence, std::int64_t ahead = 0) {
    Header commit = script.header(MessageType::kCommit, 0, sequence);
    commit.step += ahead;
    return script.turns.decide("route", commit, script.step, script.now).accepted;
  };
  CHECK(accepted(2));
  CHECK_FALSE(accepted(3));
  CHECK(script.grants().empty());
  CHECK(script.decide(1, 2) == Lines{"0:3", "1:2"});
  CHECK_FALSE(accepted(4, 1));
  CHECK(script.decide(1, 3) == Lines{"0:4"});
  CHECK(script.join(0, 5) == Lines{"0:5"});
  CHECK(accepted(6));
}

TEST_CASE("turns are given in the order in which workers began to wait") {
  Script script(synchronous(3), 3);
  for (const std::uint32_t worker : {0, 1, 2}) CHECK(script.join(worker, 1).size() == 1);
  CHECK(script.decide(2, 2).empty());
  CHECK(script.decide(0, 2).empty());
  CHECK(script.decide(1, 2) == Lines{"2:2", "0:2", "1:2"});
}

TEST_CASE("a grant reports its worker's waiting time and the decision about its push") {
  Script script(synchronous(2), 3);
  for (const std::uint32_t worker : {0, 1, 2}) script.join(worker, 1);
  CHECK(script.last.token.accepted);
  script.now = 100;
  script.decide(0, 2);
  script.now = 350;
  script.decide(1, 2);
  CHECK(script.last.token.waited_ms == 0);
  CHECK(script.last.token.accepted);
  script.step = 0;  // from the parameters of step 0,
  const Header late = script.header(MessageType::kCommit, 2, 2);
  script.step = 1;  // which are no longer the newest
  CHECK_FALSE(script.turns.decide("route", late, script.step, script.now).accepted);
  CHECK(script.grants() == Lines{"2:2"});
  CHECK_FALSE(script.last.token.accepted);
  CHECK(script.last.token.staleness == 1);
}

TEST_CASE("a repeated question keeps its place, and is answered on its latest route") {
  Script script(synchronous(2));
  script.join(0, 1);
  script.join(1, 1);
  script.decide(0, 2);
  script.now = 500;
  script.turns.ask_again("another", script.header(MessageType::kCommit, 0, 2), script.now);
  script.routes.clear();
  CHECK(script.decide(1, 2) == Lines{"0:2", "1:2"});
  CHECK(script.routes == "another route ");
  CHECK(script.grants().empty());
}

TEST_CASE("a push is new, decided last, or older; a new process begins again") {
  Script script(synchronous(1), 1);
  script.join(0, 1);
  CHECK(script.known(0, 2) == Turns::Known::kNew);
  script.decide(0, 2);
  CHECK(script.known(0, 2) == Turns::Known::kDecided);
  CHECK(script.known(0, 1) == Turns::Known::kOlder);
  CHECK(script.known(0, 3) == Turns::Known::kNew);
  script.join(0, 1, 11);
  CHECK(script.known(0, 1, 11) == Turns::Known::kNew);
}

TEST_CASE("a departed worker waits no longer, and a worker that has not joined takes no part") {
  Script script(synchronous(2));
  script.join(0, 1);
  script.join(1, 1);
  script.decide(0, 2);
  script.turns.depart(0, script.now);
  CHECK(script.decide(1, 2) == Lines{"1:2"});

  Strategy lockstep;
  lockstep.max_staleness = 0;
  lockstep.train_steps = 100;
  Script other(lockstep);
  other.join(0, 1);
  other.turns.arrive(1);
  CHECK(other.decide(0, 2) == Lines{"0:2"});  // it does not wait for worker:1
}

TEST_CASE("notices follow after one second and every ten; a wait without updates ends, one with updates continues") {
  Script script(synchronous(2));
  script.join(0, 1);
  script.decide(0, 2);
  const auto words = [&](TimeMs now) { return script.turns.tell_waiting(script.step, now); };
  CHECK(words(kFirstNoticeMs - 1).notices.empty());
  const Turns::Words first = words(kFirstNoticeMs);
  REQUIRE(first.notices.size() == 1);
  CHECK(first.notices[0].text == "waiting for worker:1 (1 of 2 gradients for step 1 have arrived)");
  CHECK(first.notices[0].request.sequence == 2);
  CHECK(words(kFirstNoticeMs + kNoticeEveryMs - 1).notices.empty());
  CHECK(words(kFirstNoticeMs + kNoticeEveryMs).notices.size() == 1);

  script.turns.note_update(5'000);
  CHECK(words(kMaxWaitMs + 4'999).refusals.empty());
  const Turns::Words last = words(kMaxWaitMs + 5'000);
  REQUIRE(last.refusals.size() == 1);
  CHECK(last.refusals[0].text == "gave up after waiting 30 s for worker:1 (1 of 2 gradients for step 1 have arrived)");
  CHECK(words(kMaxWaitMs + 6'000).refusals.empty());  // it waits no longer
}

TEST_CASE("a failure of the run is reported to all waiting workers, current and later ones") {
  Strategy strategy = synchronous(2);
  strategy.on_lost_worker = OnLostWorker::kFail;
  Script script(strategy);
  script.join(0, 1);
  script.decide(0, 2);
  CHECK(script.turns.watch(kMaxWaitMs).empty());  // worker:1 has never arrived
  const Turns::Words words = script.turns.tell_waiting(0, kMaxWaitMs);
  REQUIRE(words.refusals.size() == 1);
  CHECK(trace::holds(words.refusals[0].text, "worker:1 lost"));
}

}  // namespace distmnist
