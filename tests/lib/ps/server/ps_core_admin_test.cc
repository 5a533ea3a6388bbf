// The part of PsCore that answers questions from outside of a run: resets and shared variables.
#include <cmath>
#include <limits>

#include "lib/base/random.h"
#include "lib/ps/server/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/stay_script.h"

namespace distmnist::trace {
namespace {

constexpr auto kInit = VariableAction::kInit;
constexpr auto kGet = VariableAction::kGet;
constexpr auto kAdd = VariableAction::kAdd;
constexpr auto kList = VariableAction::kList;

const std::string kReason = "refuse 5: container 'a' was reset; start this task again for a new run";

}  // namespace

TEST_CASE("a reset drops a container and ends its sessions and no others") {
  StayScript ps;
  Peer a0 = chief_of("a", "a0"), a1 = worker_of("a", 1, "a1"), b = chief_of("b", "b");
  ps.start(a0, 2);
  ps.greet(a1, 2);
  ps.start(b, 1);
  Peer heartbeat = a1;
  heartbeat.route = "a1-heartbeat";
  ps.say(heartbeat, heartbeat.plain(MessageType::kPing));

  CHECK(ps.reset({"a", "none"}) == Lines{"a0: " + kReason, "a1: " + kReason, "a1-heartbeat: " + kReason,
                                         "admin: reset_done 'a' ended 2 'none' was not there"});
  CHECK(ps.push(b, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1));
  CHECK(ps.reset({"a"}) == Lines{"admin: reset_done 'a' was not there"});
}

TEST_CASE("done or lost processes do not count as sessions that a reset ended") {
  StayScript ps;
  Peer a0 = chief_of("a", "a0"), a1 = worker_of("a", 1, "a1"), a2 = worker_of("a", 2, "a2");
  ps.start(a0, 3);
  ps.greet(a1, 3);
  ps.greet(a2, 3);
  ps.done(a0);
  ps.tick(kLeaseMs - 1);
  ps.say(a2, a2.plain(MessageType::kPing));
  ps.tick(kLeaseMs);
  CHECK(ps.reset({"a"}).back() == "admin: reset_done 'a' ended 1");
}

TEST_CASE("every message from a process of a reset container is refused, so it does not create the container again") {
  StayScript ps;
  Peer old = chief_of("a", "old");
  ps.start(old, 1);
  ps.reset({"a"});
  const std::size_t lines = ps.actions.log_lines.size();
  for (const MessageType type : {MessageType::kPush, MessageType::kPing, MessageType::kPull, MessageType::kLeave}) {
    CHECK(ps.say(old, old.plain(type)) == Lines{"old: " + kReason});
  }
  old.route = "old-again";
  CHECK(ps.greet(old, 1) == Lines{"old-again: " + kReason});
  CHECK(ps.actions.log_lines.size() == lines);  // logged once, at the reset
  CHECK(ps.reset({"a"}) == Lines{"admin: reset_done 'a' was not there"});

  Peer fresh = chief_of("a", "fresh");
  fresh.incarnation = old.incarnation + 1;
  CHECK(ps.greet(fresh, 2) == Lines{"fresh: welcome awaiting_model, step 0"});
  CHECK(ps.greet(old, 1) == Lines{"old-again: " + kReason});
}

TEST_CASE("a reset also ends a process that was about to take over a task") {
  StayScript ps;
  Peer old = chief_of("a", "old"), newcomer = chief_of("a", "newcomer");
  ps.start(old, 1);
  newcomer.incarnation = old.incarnation + 1;
  CHECK(ps.greet(newcomer, 1) == Lines{"old: probe"});
  CHECK(ps.reset({"a"}) == Lines{"newcomer: " + kReason, "old: " + kReason, "admin: reset_done 'a' ended 1"});
}

TEST_CASE("only the last processes of reset containers are remembered") {
  StayScript ps;
  for (std::uint32_t i = 0; i < kMaxResetProcesses; ++i) {
    Peer worker = worker_of("a", i, fmt::format("a{}", i));
    ps.greet(worker, kMaxWorkers);
  }
  Peer first = worker_of("a", 0, "first"), b = chief_of("b", "b");
  ps.reset({"a"});
  CHECK(ps.say(first, first.plain(MessageType::kPing)) == Lines{"first: " + kReason});
  ps.start(b, 1);
  ps.reset({"b"});
  CHECK(ps.say(first, first.plain(MessageType::kPing)) == Lines{"first: stale"});
}

TEST_CASE("a reset without names drops every container, including the default container and shared variables") {
  StayScript ps;
  Peer unnamed = chief_of("", "unnamed"), b = chief_of("b", "b");
  ps.start(unnamed, 1);
  ps.start(b, 1);
  ps.ask(kInit, "b", "x", 4);
  const Lines out = ps.reset({});
  CHECK(any_holds(out, "unnamed: refuse 5: the default container was reset; "));
  CHECK(any_holds(out, "b: refuse 5: container 'b' was reset; "));
  CHECK(any_holds(out, "'' ended 1"));
  CHECK(any_holds(out, "'b' ended 1"));
  CHECK(holds(ps.ask(kGet, "b", "x")[0], "refuse 2"));
}

TEST_CASE("a repeated reset gets the same answer and does not affect containers created since") {
  StayScript ps;
  Peer old = chief_of("a", "old"), fresh = chief_of("a", "fresh");
  fresh.incarnation = old.incarnation + 1;
  ps.start(old, 1);
  const Lines answer = ps.reset({"a"});
  ps.start(fresh, 1);
  const Lines again = ps.say(ps.admin, ps.admin.record(MessageType::kReset, encode(ResetRecord{{"a"}})));
  CHECK(again == Lines{answer.back()});
  CHECK(ps.say(fresh, fresh.plain(MessageType::kPing)) == Lines{"fresh: pong"});
}

TEST_CASE("a reset with more names than possible containers is refused") {
  StayScript ps;
  const Lines out = ps.reset(std::vector<std::string>(kMaxContainers + 1, "a"));
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "refuse 2: a reset names 65 containers; name at most 64"));
}

TEST_CASE(
    "without --ps_stay a reset makes the ps free for a first container again and restarts the time to wait for it") {
  StayScript ps(false);
  Peer first = chief_of("a", "first"), second = chief_of("b", "second");
  ps.tick(kFirstWorkerMs - 1000);
  ps.start(first, 1);
  CHECK(ps.reset({"a"}).back() == "admin: reset_done 'a' ended 1");
  ps.tick(ps.now + kFirstWorkerMs - 1000);
  CHECK_FALSE(ps.core.end());
  CHECK(ps.greet(second, 1) == Lines{"second: welcome awaiting_model, step 0"});
}

TEST_CASE("a shared variable outlives its client: the first client prints 1, the second 2") {
  StayScript ps;
  CHECK(ps.ask(kInit, "", "x") == Lines{"admin: variable_answer 0"});
  CHECK(ps.ask(kAdd, "", "x", 1) == Lines{"admin: variable_answer 1"});
  CHECK(ps.ask(kInit, "", "x", 7) == Lines{"admin: variable_answer 1"});
  CHECK(ps.ask(kAdd, "", "x", 1) == Lines{"admin: variable_answer 2"});
  CHECK(ps.ask(kGet, "", "x") == Lines{"admin: variable_answer 2"});
}

TEST_CASE("the same name in a different container is a different variable") {
  StayScript ps;
  ps.ask(kInit, "a", "x", 1);
  ps.ask(kInit, "b", "x", 10);
  CHECK(ps.ask(kAdd, "a", "x", 1) == Lines{"admin: variable_answer 2"});
  CHECK(ps.ask(kGet, "b", "x") == Lines{"admin: variable_answer 10"});
}

TEST_CASE("a repeated addition is answered and not made again") {
  StayScript ps;
  ps.ask(kInit, "", "x", 0);
  CHECK(ps.ask(kAdd, "", "x", 1) == Lines{"admin: variable_answer 1"});
  CHECK(ps.ask_again(kAdd, "", "x", 1) == Lines{"admin: variable_answer 1"});
  CHECK(ps.ask(kGet, "", "x") == Lines{"admin: variable_answer 1"});
}

TEST_CASE("a missing variable is refused with a list of existing ones, and the question creates no container") {
  StayScript ps;
  CHECK(holds(ps.ask(kAdd, "a", "x", 1)[0], "refuse 2: container 'a' has no shared variable 'x'; create it with"));
  CHECK(ps.ask(kList, "a") == Lines{"admin: variable_answer 0"});
  CHECK(ps.reset({"a"}) == Lines{"admin: reset_done 'a' was not there"});
  ps.ask(kInit, "a", "y");
  ps.ask(kInit, "a", "z");
  CHECK(holds(ps.ask(kGet, "a", "x")[0], "or use one of: y, z"));
}

TEST_CASE("a list contains the shared variables, and for a model's variables the number of floats on this ps") {
  StayScript ps;
  Peer chief = chief_of("a", "chief");
  ps.greet(chief, 1);
  chief.run = kRun;
  CreateRecord record = small_model();
  record.pieces = {{"w", {0, 1}}, {"w", {1, 1}}, {"b", {2, 1}}};
  ps.say(chief, chief.record(MessageType::kCreate, encode(record)));
  ps.say(chief, chief.load(0, {0}));
  ps.say(chief, chief.load(1, {0}));
  ps.say(chief, chief.load(2, {0}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)) == Lines{"chief: welcome ready, step 0"});
  ps.ask(kInit, "a", "x", 3);
  ps.ask(kInit, "b", "y", 3);
  CHECK(ps.ask(kList, "a") == Lines{"admin: variable_answer 0 x=3 w[2] b[1]"});
}

TEST_CASE("shared variables outlive a failed run in their container") {
  StayScript ps;
  Peer early = chief_of("a", "early");
  ps.ask(kInit, "a", "x", 3);
  ps.greet(early, 1);
  ps.say(early, early.plain(MessageType::kLeave));
  ps.tick(100);
  CHECK(ps.ask(kGet, "a", "x") == Lines{"admin: variable_answer 3"});
}

TEST_CASE("questions that this ps cannot answer are refused with what to do") {
  StayScript ps;
  Peer& admin = ps.admin;
  const auto say = [&](const VariableRecord& question) {
    ++admin.incarnation;
    const Lines out = ps.say(admin, admin.record(MessageType::kVariable, encode(question)));
    REQUIRE(out.size() == 1);
    return out[0];
  };
  CHECK(holds(say({kGet, 2, 0, "", "x", 0}),
              "refuse 2: this is ps:0 of 1, but it was asked as ps:0 of 2; give the same --ps_hosts"));
  CHECK(holds(say({kGet, 1, 1, "", "x", 0}), "asked as ps:1 of 1"));
  CHECK(holds(say({kInit, 1, 0, "a b", "x", 0}), "refuse 2: invalid container name"));
  CHECK(holds(say({kInit, 1, 0, "", "", 0}), "refuse 2: invalid variable name"));
  CHECK(holds(say({kInit, 1, 0, "", "x", std::nan("")}), "refuse 2: the value is not finite"));
  CHECK(holds(say({kInit, 1, 0, "", "x", std::numeric_limits<double>::infinity()}), "the value is not finite"));
  for (std::size_t i = 0; i < kMaxSharedVariables; ++i) ps.ask(kInit, "", fmt::format("x{}", i));
  CHECK(holds(say({kInit, 1, 0, "", "x", 0}), "refuse 7: the default container already has 1024 shared variables"));

  StayScript leaving(false);
  CHECK(holds(leaving.ask(kInit, "", "x")[0],
              "refuse 2: ps:0 ends with its run and has no shared variables; start it with --ps_stay"));
}

TEST_CASE("questions with any content neither crash a ps nor affect containers that they do not name") {
  StayScript ps;
  Peer chief = chief_of("somewhere", "chief");
  ps.start(chief, 1);
  ps.ask(kInit, "somewhere", "kept", 5);
  Random random(3, 4);
  for (int i = 0; i < 20'000; ++i) {
    const bool reset = random.below(2) == 0;
    Frame junk = reset ? encode(ResetRecord{{"b", "c"}}) : encode(VariableRecord{kInit, 1, 0, "b", "x", 1});
    junk.bytes()[random.below(junk.size())] = static_cast<std::byte>(random.below(256));
    ++ps.admin.incarnation;
    ps.say(ps.admin, ps.admin.record(reset ? MessageType::kReset : MessageType::kVariable, std::move(junk)));
  }
  CHECK(ps.pull(chief) == parameters("chief", "0 0", "0", 0));
  CHECK(ps.ask(kGet, "somewhere", "kept") == Lines{"admin: variable_answer 5"});
}

}  // namespace distmnist::trace
