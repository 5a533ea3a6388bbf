// What an unauthorized peer can do to a ps: admission, which connections stay or end, and what is logged.
#include <limits>

#include "lib/ps/records/names.h"
#include "lib/ps/server/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/stay_script.h"

namespace distmnist::trace {
namespace {

constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();

// A ps without --ps_stay for a job of two workers, both connected, with a model.
struct Ps : PsTrace<PsCore> {
  explicit Ps(bool with_model = true) : PsTrace(PsSetup{{0, 1, 2, kEpoch}}, actions, 0) {
    if (!with_model) return;
    greet(chief);
    greet(worker);
    chief.run = kRun;
    say(chief, chief.record(MessageType::kCreate, encode(small_model())));
    say(chief, chief.load(0, {0, 0}));
    say(chief, chief.load(2, {0}));
    say(chief, chief.plain(MessageType::kCreateEnd));
    actions.kept.clear();
  }
  Lines greet(Peer& peer) { return say(peer, peer.hello(kJob, 2, 1, 0)); }
  Lines push(Peer& peer, float gradient) {
    ++peer.sequence;
    Lines out = say(peer, peer.push(0, {gradient, gradient}));
    for (const std::string& line : say(peer, peer.push(2, {gradient}))) out.push_back(line);
    return out;
  }
  void hear_fault(HeaderFault fault, const Route& route) {
    core.on_message(Sender{route, "10.0.0.2"}, Received{{}, fault}, now);
  }
  bool keeps(const Route& route) const { return actions.kept.contains(route); }
  bool cuts(const Route& route) const { return actions.was_cut.contains(route); }

  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a"};
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b"};
};

Frame junk() {
  return frame_of(std::vector<float>{1});
}

}  // namespace

// ---- Connections that stay ----

TEST_CASE("the connections of an admitted or waiting process and of its heartbeat stay") {
  Ps ps(false);
  ps.greet(ps.worker);
  CHECK(ps.keeps("b"));
  Peer newcomer = {.worker = 1, .incarnation = 5, .route = "new"};
  CHECK(ps.greet(newcomer) == Lines{"b: probe"});
  CHECK(ps.keeps("new"));
  Peer heartbeat = ps.worker;
  heartbeat.route = "heartbeat";
  ps.say(heartbeat, heartbeat.plain(MessageType::kPing));
  CHECK(ps.keeps("heartbeat"));
  heartbeat.route = "heartbeat's next connection";
  ps.greet(ps.worker);  // its heartbeat does not have the new lease yet
  CHECK(ps.say(heartbeat, heartbeat.plain(MessageType::kPing)) == Lines{"heartbeat's next connection: stale"});
  CHECK(ps.keeps("heartbeat's next connection"));
}

TEST_CASE("the connection of a client whose question is answered stays") {
  StayScript ps;
  ps.reset({});
  CHECK(ps.actions.kept == std::set<Route>{"admin"});
  ps.actions.kept.clear();
  ps.ask(VariableAction::kInit, "", "x");
  CHECK(ps.actions.kept == std::set<Route>{"admin"});
}

TEST_CASE("the connection of a refused or unknown process is not kept") {
  Ps ps;
  Peer beyond = {.worker = 2, .route = "beyond"}, other = {.route = "other", .container = "c"};
  Peer misfit = {.worker = 1, .incarnation = 3, .route = "misfit"}, unknown = {.worker = 1, .route = "unknown"};
  unknown.incarnation = 77;
  ps.greet(beyond);
  ps.greet(other);
  ps.say(misfit, misfit.hello({{"--model", "softmax"}}, 2, 1, 0));
  CHECK(ps.say(unknown, unknown.plain(MessageType::kPing)) == Lines{"unknown: stale"});
  Peer guesser = ps.worker;
  guesser.route = "guesser";
  ++guesser.incarnation;
  CHECK(ps.say(guesser, guesser.plain(MessageType::kPull)) == Lines{"guesser: stale"});
  ps.say(ps.chief, ps.chief.plain(MessageType::kPing));
  CHECK(ps.actions.kept == std::set<Route>{"a"});
  CHECK(ps.actions.was_cut.empty());
}

TEST_CASE("a process that is admitted and then found not to fit the model is not kept") {
  Ps ps(false);
  ps.say(ps.worker, ps.worker.hello({{"--model", "softmax"}}, 2, 1, 0));
  ps.greet(ps.chief);
  ps.actions.kept.clear();
  ps.chief.run = kRun;
  ps.say(ps.chief, ps.chief.record(MessageType::kCreate, encode(small_model())));
  ps.say(ps.chief, ps.chief.load(0, {0, 0}));
  ps.say(ps.chief, ps.chief.load(2, {0}));
  CHECK(any_holds(ps.say(ps.chief, ps.chief.plain(MessageType::kCreateEnd)), "b: refuse 5"));
  CHECK_FALSE(ps.keeps("b"));
}

// ---- Connections that end ----

TEST_CASE("malformed messages end their connection") {
  for (const HeaderFault fault :
       {HeaderFault::kSize, HeaderFault::kMagic, HeaderFault::kChecksum, HeaderFault::kField, HeaderFault::kPayload}) {
    Ps ps;
    ps.hear_fault(fault, "x");
    CHECK(ps.actions.sent.empty());
    CHECK(ps.actions.was_cut == std::set<Route>{"x"});
    CHECK(any_holds(ps.actions.log_lines, fmt::format("dropped a connection from 10.0.0.2: {}", to_string(fault))));
  }
}

TEST_CASE("a different version is answered, and then its connection ends") {
  Ps ps;
  ps.hear_fault(HeaderFault::kVersion, "x");
  REQUIRE(ps.actions.sent.size() == 1);
  CHECK(holds(describe(ps.actions.sent[0].message), "refuse 5: ps:0 speaks protocol version 5"));
  CHECK(ps.cuts("x"));
}

TEST_CASE("records that cannot be read end only their connection") {
  for (const MessageType type : {MessageType::kHello, MessageType::kCreate, MessageType::kAdvance,
                                 MessageType::kSnapshotTake, MessageType::kReset, MessageType::kVariable}) {
    Ps ps;
    Peer peer = ps.chief;
    peer.route = "x";
    CAPTURE(static_cast<int>(type));
    CHECK(ps.say(peer, peer.record(type, junk())).empty());
    CHECK(ps.actions.was_cut == std::set<Route>{"x"});
    CHECK(ps.push(ps.chief, 1).size() == 2);
  }
  Ps empty(false);
  CHECK(empty.say(empty.worker, empty.worker.record(MessageType::kHello, junk())).empty());
  CHECK(empty.cuts("b"));
}

TEST_CASE("a process without an incarnation is refused") {
  Ps ps;
  Peer nobody = {.worker = 1, .incarnation = 0, .route = "x"};
  CHECK(ps.greet(nobody).empty());
  CHECK(ps.cuts("x"));
}

// ---- Keys ----

TEST_CASE("a process with the key of a different task is refused with exit 9 and a reason, and its connection ends") {
  Ps ps;
  ps.sender.key = KeyOwner{KeyOwner::Role::kWorker, 1};
  const Lines out = ps.say(ps.chief, ps.chief.plain(MessageType::kPull));
  CHECK(out == Lines{"a: refuse 9: the key of worker:1 is not valid for worker:0; give each task its own key"});
  CHECK(ps.cuts("a"));
  CHECK_FALSE(ps.keeps("a"));
  CHECK(ps.push(ps.worker, 1).size() == 2);
  CHECK_FALSE(ps.cuts("b"));
}

TEST_CASE("with keys only the administrator can reset, from any address") {
  StayScript ps;
  Peer chief = chief_of("a", "chief");
  ps.start(chief, 1);
  ps.sender = {"", "10.0.0.9", true, KeyOwner{KeyOwner::Role::kWorker, 0}};
  CHECK(holds(ps.reset({}).at(0), "admin: refuse 9: a reset needs the admin key"));
  ps.sender = {"", "10.0.0.9", false, KeyOwner{KeyOwner::Role::kAdmin, 0}};
  CHECK(ps.reset({"a"}).back() == "admin: reset_done 'a' ended 1");
}

// ---- Resets without keys ----

TEST_CASE("without keys and --ps_stay a reset from a different host is refused with exit 9 and changes nothing") {
  Ps ps;
  Peer admin = {.incarnation = 900, .route = "admin", .sequence = 1};
  const auto reset = [&] { return ps.say(admin, admin.record(MessageType::kReset, encode(ResetRecord{}))); };
  ps.sender = {"", "10.0.0.2", false, {}};
  CHECK(holds(reset().at(0),
              "admin: refuse 9: without keys, this ps can be reset only from its own host; run the reset there, or"));
  CHECK_FALSE(ps.keeps("admin"));
  ps.sender = {};
  CHECK(ps.push(ps.worker, 1).size() == 2);
  CHECK(reset().back() == "admin: reset_done '' ended 2");
}

TEST_CASE("the log names the sender of each reset") {
  StayScript ps;
  Peer chief = chief_of("a", "chief");
  ps.start(chief, 1);
  ps.sender = {"", "10.0.0.2", false, {}};
  ps.reset({"a"});
  CHECK(any_holds(ps.actions.log_lines, "reset by 10.0.0.2: dropped container 'a', 1 session ended"));
}

TEST_CASE("a reset of an invalid name is refused before anything is dropped") {
  StayScript ps;
  Peer chief = chief_of("a", "chief");
  ps.start(chief, 1);
  CHECK(holds(ps.reset({"a", std::string(4096, 'x')}).at(0), "refuse 2: invalid container name"));
  CHECK(ps.pull(chief).size() == 2);
}

TEST_CASE("remembered answers are limited in bytes, however large they are") {
  StayScript ps;
  ps.ask(VariableAction::kInit, "", "x");
  CHECK(ps.ask(VariableAction::kAdd, "", "x", 1) == Lines{"admin: variable_answer 1"});
  CHECK(ps.ask_again(VariableAction::kAdd, "", "x", 1) == Lines{"admin: variable_answer 1"});
  const std::uint64_t first = ps.admin.incarnation;
  const std::vector<std::string> names(kMaxContainers, std::string(kMaxNameBytes, 'n'));
  const std::size_t bytes_each = kMaxContainers * kMaxNameBytes;
  for (std::size_t bytes = 0; bytes < kMaxRememberedBytes; bytes += bytes_each) ps.reset(names);
  ps.admin.incarnation = first;
  CHECK(ps.ask_again(VariableAction::kAdd, "", "x", 1) == Lines{"admin: variable_answer 2"});  // forgotten
}

// ---- Roles and numbers ----

TEST_CASE("while the chief lives no other worker is the chief, and no second process of its task") {
  Ps ps;
  Peer other = {.worker = 1, .incarnation = 99, .chief = true, .route = "x"};
  CHECK(ps.greet(other) == Lines{"b: probe"});
  CHECK(ps.tick(kProbeMs) == Lines{"x: welcome ready, step 0"});
  CHECK(decode<WelcomeRecord>(ps.last_sent.back().message.payload.bytes())->chief == 0);
  Peer second = {.worker = 0, .incarnation = kLargest, .chief = true, .route = "second"};
  CHECK(ps.greet(second) == Lines{"a: probe"});
  CHECK(
      any_holds(ps.say(ps.chief, ps.chief.plain(MessageType::kPing)), "second: refuse 6: worker:0 is already running"));
}

TEST_CASE("other workers are refused what only the chief may do") {
  Ps ps;
  for (const MessageType type : {MessageType::kCreate, MessageType::kLoad, MessageType::kCreateEnd,
                                 MessageType::kSnapshotBegin, MessageType::kSnapshotTake, MessageType::kAwaitOthers}) {
    CHECK(ps.say(ps.worker, ps.worker.plain(type)) ==
          Lines{"b: refuse 2: only the chief may create the model, take snapshots and wait for the others"});
  }
}

TEST_CASE("no incarnation of an earlier process prevents the next process of its task from training") {
  Ps ps;
  ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
  Peer liar = {.worker = 1, .incarnation = kLargest, .route = "liar"};
  ps.greet(liar);
  liar.sequence = kLargest - 1;
  liar.step = std::numeric_limits<std::int64_t>::max();
  CHECK(ps.push(liar, 1).size() == 2);
  Peer next = {.worker = 1, .incarnation = 1, .route = "next"};
  CHECK(ps.greet(next) == Lines{"liar: probe"});
  CHECK(ps.tick(kProbeMs) == Lines{"next: welcome ready, step 1"});
  CHECK(ps.push(next, 1) == parameters("next", "-2 -2", "-2", 2));
  CHECK(ps.push(ps.chief, 1) == parameters("a", "-3 -3", "-3", 3));
  CHECK(holds(ps.push(liar, 1).at(0), "liar: refuse 6: another process has taken over worker:1"));
}

TEST_CASE("a job description with impossible sizes is refused") {
  Ps ps(false);
  Fingerprint job(300, {"--flag", std::string(100, 'x')});
  CHECK(holds(ps.say(ps.worker, ps.worker.hello(job, 2, 1, 0)).at(0),
              "b: refuse 2: worker:1 describes its job in 51000 bytes, but at most 16384 are allowed"));
}

// ---- The log ----

TEST_CASE("any number of refused and malformed messages write a few lines, and each refusal is answered in full") {
  Ps ps;
  const std::size_t before = ps.actions.log_lines.size();
  Peer beyond = {.worker = 99, .route = "x"};
  for (int i = 0; i < 50'000; ++i) {
    ps.now = i / 100;
    CHECK(ps.say(beyond, beyond.plain(MessageType::kPing)).size() == 1);
    ps.hear_fault(HeaderFault::kMagic, "y");
  }
  CHECK(ps.actions.log_lines.size() - before == 2);  // one per address
  ps.tick(70'000);
  CHECK(any_holds(ps.actions.log_lines,
                  "refused worker:99 from this process: worker:99 is not in the cluster of ps:0, which has 2 workers "
                  "(and 49998 more like it)"));
}

TEST_CASE("a worker that connects and leaves any number of times writes a few lines") {
  Ps ps;
  const std::size_t before = ps.actions.log_lines.size();
  for (int i = 0; i < 1000; ++i) {
    Peer peer = {.worker = 1, .incarnation = 100 + static_cast<std::uint64_t>(i), .route = "x"};
    ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
    ps.greet(peer);
    ps.say(peer, peer.plain(MessageType::kLeave));
  }
  CHECK(ps.actions.log_lines.size() - before ==
        2);  // one that it leaves, and one from earlier that worker:1 is refused
  ps.tick(70'000);
  CHECK(any_holds(ps.actions.log_lines, "worker:1 leaves at global_step 0 (and 999 more like it)"));
}

TEST_CASE("repeated claims of a ps write a few lines") {
  Ps ps(false);
  for (int i = 0; i < 1000; ++i) {
    Peer peer = {.worker = 1, .incarnation = 5, .route = "x", .container = fmt::format("c{}", i)};
    ps.greet(peer);
    ps.say(peer, peer.plain(MessageType::kLeave));
  }
  CHECK(ps.actions.log_lines.size() <= 256 + 2);
}

TEST_CASE("text from a peer is quoted to it in full, and shortened in the log") {
  Ps ps;
  Peer misfit = {.worker = 1, .incarnation = 3, .route = "x"};
  const std::string value(3000, 'y');
  const Lines out = ps.say(misfit, misfit.hello({{"--model", value}}, 2, 1, 0));
  CHECK(holds(out.at(0), value));
  const std::string line = ps.actions.log_lines.back();
  CHECK(holds(line, "refused worker:1 from this process: worker:1 does not fit this job: --model is yyy"));
  CHECK(line.size() < 300);
}

TEST_CASE("no connection outlives its run") {
  StayScript ps;
  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a"}, other = chief;
  ps.greet(chief, 1);
  other.incarnation = 11;
  other.route = "waits";
  ps.greet(other, 1);
  CHECK(ps.actions.was_cut.empty());
  SECTION("it was reset") {
    ps.reset({});
  }
  SECTION("it ended without a model") {
    ps.tick(kProbeMs);
    ps.tick(kProbeMs + 2 * kLeaseMs);
  }
  CHECK(ps.actions.was_cut.contains("waits"));
  CHECK(ps.actions.was_cut.contains("a"));
}

// ---- A second container ----

TEST_CASE("a container without a model is replaced by another one when none of its processes answers") {
  Ps ps(false);
  Peer stranger = {.worker = 1, .incarnation = 5, .route = "stranger", .container = "mine"};
  ps.greet(stranger);
  CHECK(ps.greet(ps.chief) == Lines{"stranger: probe"});
  CHECK_FALSE(ps.keeps("a"));  // not admitted yet
  CHECK(ps.greet(ps.worker) == Lines{"stranger: probe"});
  CHECK(ps.tick(kProbeMs - 1).empty());
  CHECK(ps.tick(kProbeMs) == Lines{"a: welcome awaiting_model, step 0", "b: welcome awaiting_model, step 0"});
  CHECK(ps.keeps("a"));
  CHECK(ps.cuts("stranger"));
  CHECK(
      holds(ps.say(stranger, stranger.plain(MessageType::kPing)).at(0), "stranger: refuse 5: ps:0 serves a different"));
}

TEST_CASE("a container with a process that answers or with a model is not replaced") {
  Ps ps(false);
  Peer other = {.worker = 0, .incarnation = 5, .route = "other", .container = "mine"};
  ps.greet(ps.worker);
  CHECK(ps.greet(other) == Lines{"b: probe"});
  const Lines out = ps.say(ps.worker, ps.worker.plain(MessageType::kPing));
  REQUIRE(out.size() == 2);
  CHECK(holds(out[0], "other: refuse 5: ps:0 serves a different container; start it with --ps_stay"));
  CHECK(out[1] == "b: pong");
  CHECK(ps.tick(2 * kProbeMs).empty());

  Ps running;
  CHECK(holds(running.greet(other).at(0), "other: refuse 5: ps:0 serves a different container"));
  running.tick(2 * kLeaseMs);  // all processes are silent, but the model stays
  CHECK(holds(running.greet(other).at(0), "other: refuse 5: ps:0 serves a different container"));
}

TEST_CASE("a container without a model and without a process is replaced at once") {
  Ps ps(false);
  Peer stranger = {.worker = 1, .incarnation = 5, .route = "stranger", .container = "mine"};
  ps.greet(stranger);
  SECTION("it has left") {
    ps.say(stranger, stranger.plain(MessageType::kLeave));
  }
  SECTION("it is lost") {
    ps.tick(kLeaseMs);
  }
  CHECK(ps.greet(ps.chief) == Lines{"a: welcome awaiting_model, step 0"});
}

TEST_CASE("after a reset a waiting container takes the place, and the end of the first one does not affect it") {
  Ps ps(false);
  Peer first = {.worker = 1, .incarnation = 5, .route = "first", .container = "mine"};
  Peer admin = {.incarnation = 900, .route = "admin", .sequence = 1};
  ps.greet(first);
  ps.greet(ps.chief);
  ps.say(admin, admin.record(MessageType::kReset, encode(ResetRecord{})));
  CHECK(ps.greet(ps.worker) == Lines{"b: welcome awaiting_model, step 0"});
  CHECK(ps.tick(100) == Lines{"a: welcome awaiting_model, step 0"});
  CHECK(ps.tick(5 * kProbeMs).empty());
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPing)) == Lines{"b: pong"});
}

TEST_CASE("the number of greetings that wait for another container is limited") {
  Ps ps(false);
  ps.greet(ps.worker);
  for (std::size_t i = 0; i < 2 * kMaxContestants; ++i) {
    Peer other = {.worker = 0, .incarnation = 100 + i, .route = "other", .container = "mine"};
    ps.greet(other);
  }
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPing)).size() == kMaxContestants + 1);
}

}  // namespace distmnist::trace
