#include "lib/ps/server/ps_core.h"

#include <algorithm>

#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/ps_script.h"

namespace distmnist::trace {
namespace {

constexpr TimeMs kWaitMs = 30'000;

// A whole ps for a job of two workers.
struct Ps : PsTrace<PsCore> {
  Ps() : PsTrace(PsSetup{{0, 1, 2, kEpoch}, {kWaitMs}}, actions, 0) {}

  Lines greet(Peer& peer) { return say(peer, peer.hello(kJob, 2, 1, 0)); }
  void create_model() {
    chief.run = kRun;
    say(chief, chief.record(MessageType::kCreate, encode(small_model())));
    say(chief, chief.load(0, {0, 0}));
    say(chief, chief.load(2, {0}));
    say(chief, chief.plain(MessageType::kCreateEnd));
  }
  void start() {
    greet(chief);
    greet(worker);
    create_model();
  }
  void hear_fault(HeaderFault fault, std::uint16_t version = kProtocolVersion) {
    Received received;
    received.fault = fault;
    received.message.header.version = version;
    core.on_message(Sender{"x"}, std::move(received), now);
  }
  // Ticks every second until `time`, while the workers in `alive` send pings.
  void run_until(TimeMs time, std::vector<Peer*> alive = {}) {
    while (now < time && !core.end()) {
      now += 1000;
      for (Peer* peer : alive) say(*peer, peer->plain(MessageType::kPing));
      tick(now);
    }
  }
  bool ended_with(ExitCode code, const std::string& words) const {
    return core.end() && core.end()->code == code && holds(core.end()->reason, words);
  }

  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a"};
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b"};
};

}  // namespace

TEST_CASE("a peer with a different protocol version is told both versions, and exit 5") {
  Ps ps;
  ps.hear_fault(HeaderFault::kVersion, 9);
  REQUIRE(ps.actions.sent.size() == 1);
  CHECK(ps.actions.sent[0].to == "x");
  const std::string answer = describe(ps.actions.sent[0].message);
  CHECK(holds(answer, "refuse 5: ps:0 speaks protocol version 5, but the request came in version 9"));
}

TEST_CASE("malformed messages are dropped without an answer and do not flood the log") {
  Ps ps;
  for (int i = 0; i < 1000; ++i) {
    for (const HeaderFault fault : {HeaderFault::kSize, HeaderFault::kMagic, HeaderFault::kChecksum,
                                    HeaderFault::kField, HeaderFault::kPayload}) {
      ps.hear_fault(fault);
    }
  }
  CHECK(ps.actions.sent.empty());
  CHECK(ps.actions.log_lines == Lines{"dropped a connection from this process: wrong header size"});
}

TEST_CASE("a ps serves the first requested container and refuses others") {
  Ps ps;
  ps.start();
  Peer other = {.worker = 0, .incarnation = 10, .chief = true, .route = "c", .container = "second"};
  const Lines out = ps.greet(other);
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "c: refuse 5: ps:0 serves a different container"));
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPing)) == Lines{"b: pong"});
}

TEST_CASE("only a valid greeting for the container that it names claims a ps") {
  Ps ps;
  Peer stranger = {.worker = 0, .incarnation = 10, .chief = true, .route = "c", .container = "second"};
  CHECK(ps.say(stranger, stranger.record(MessageType::kHello, Frame::allocate(3))).empty());
  Message misnamed = stranger.hello(kJob, 2, 1, 0);
  misnamed.header.container = container_id("third");
  CHECK(ps.say(stranger, std::move(misnamed)).empty());
  ps.start();
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPing)) == Lines{"b: pong"});
}

TEST_CASE("a restarted ps calls every earlier message stale, so that workers send a new greeting") {
  Ps old, restarted;
  old.start();
  ++old.worker.sequence;
  for (const MessageType type : {MessageType::kPush, MessageType::kPing, MessageType::kPull, MessageType::kDone}) {
    CHECK(restarted.say(old.worker, old.worker.plain(type)) == Lines{"b: stale"});
  }
  CHECK(restarted.greet(old.worker) == Lines{"b: welcome awaiting_model, step 0"});
}

TEST_CASE("the process ends with 0 when all workers are done") {
  Ps ps;
  ps.start();
  ps.say(ps.worker, ps.worker.plain(MessageType::kDone));
  CHECK_FALSE(ps.core.end());
  CHECK(ps.say(ps.chief, ps.chief.plain(MessageType::kDone)) == Lines{"a: done_ack", "b: done_ack"});
  CHECK(ps.ended_with(ExitCode::kOk, "all workers are done"));
}

TEST_CASE("a ps without any greeting waits an hour and logs which workers it waits for") {
  Ps ps;
  ps.tick(kReportEveryMs);
  CHECK(ps.actions.log_lines == Lines{"waiting for worker:0..1 for at most another 3590 s"});
  ps.run_until(kFirstWorkerMs - 1000);
  CHECK_FALSE(ps.core.end());
  ps.run_until(kFirstWorkerMs);
  CHECK(ps.ended_with(ExitCode::kLostPeer, "no sign of worker:0..1 for 3600 s"));
}

TEST_CASE("a ps whose workers are all lost waits for the recovery time, names them, and ends with 138") {
  Ps ps;
  ps.start();
  ps.run_until(kLeaseMs + kWaitMs - 1000 - 15'000);
  CHECK_FALSE(ps.core.end());
  ps.run_until(100'000);
  CHECK(ps.ended_with(ExitCode::kLostPeer, "no sign of worker:0, worker:1 for"));
  CHECK(any_holds(ps.actions.log_lines, "waiting for worker:0, worker:1 for at most another"));
}

TEST_CASE("one live worker is enough, however long the others are away") {
  Ps ps;
  ps.start();
  ps.run_until(10 * kWaitMs, {&ps.worker});
  CHECK_FALSE(ps.core.end());
}

TEST_CASE("only workers that are not done are waited for") {
  Ps ps;
  ps.start();
  ps.say(ps.chief, ps.chief.plain(MessageType::kDone));
  ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
  ps.run_until(kWaitMs, {&ps.chief});  // the chief is still there, but it is done
  CHECK(ps.ended_with(ExitCode::kLostPeer, "no sign of worker:1 for 30 s"));
}

TEST_CASE("a worker that returns in time keeps the run alive") {
  Ps ps;
  ps.start();
  ps.run_until(kWaitMs - 5000);
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPing)) == Lines{"b: pong"});
  ps.run_until(2 * kWaitMs - 6000);
  CHECK_FALSE(ps.core.end());
}

TEST_CASE("after a signal a ps serves until the workers have left, and ends with the signal's code") {
  Ps ps;
  ps.start();
  ps.core.on_signal(ExitCode::kTerminated, 0);
  ps.run_until(3000, {&ps.chief, &ps.worker});
  CHECK_FALSE(ps.core.end());
  CHECK(ps.say(ps.worker, ps.worker.plain(MessageType::kPull)).size() == 2);
  ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
  ps.tick(3100);
  CHECK_FALSE(ps.core.end());
  ps.say(ps.chief, ps.chief.plain(MessageType::kLeave));
  ps.tick(3200);
  CHECK(ps.ended_with(ExitCode::kTerminated, "stopped by a signal"));
}

TEST_CASE("after a signal a ps waits at most the grace time, and a second signal does not extend it") {
  Ps ps;
  ps.start();
  ps.core.on_signal(ExitCode::kInterrupted, 0);
  ps.run_until(kSignalGraceMs - 1000, {&ps.chief, &ps.worker});
  ps.core.on_signal(ExitCode::kTerminated, ps.now);
  CHECK_FALSE(ps.core.end());
  ps.run_until(kSignalGraceMs, {&ps.chief, &ps.worker});
  CHECK(ps.ended_with(ExitCode::kInterrupted, "workers were still connected"));
}

TEST_CASE("after a signal a ps does not wait for the lease of a dead worker to expire") {
  Ps ps;
  ps.start();
  ps.core.on_signal(ExitCode::kTerminated, ps.now);
  ps.run_until(2000);
  CHECK_FALSE(ps.core.end());
  ps.run_until(kSignalSilenceMs + 1000);
  REQUIRE(ps.ended_with(ExitCode::kTerminated, "stopped by a signal"));
  CHECK(ps.now < kSignalGraceMs);
}

TEST_CASE("a signal ends a ps that has no workers at once") {
  Ps ps;
  ps.core.on_signal(ExitCode::kTerminated, 0);
  ps.tick(100);
  CHECK(ps.ended_with(ExitCode::kTerminated, "stopped by a signal"));
}

TEST_CASE("a run that ends by itself after a signal ends with 0") {
  Ps ps;
  ps.start();
  ps.core.on_signal(ExitCode::kTerminated, 0);
  ps.say(ps.worker, ps.worker.plain(MessageType::kDone));
  ps.say(ps.chief, ps.chief.plain(MessageType::kDone));
  ps.tick(100);
  CHECK(ps.ended_with(ExitCode::kOk, "all workers are done"));
}

TEST_CASE("messages with valid headers and any content neither crash a ps nor change its parameters") {
  Ps ps;
  ps.start();
  Random random(1, 2);
  for (int i = 0; i < 20'000; ++i) {
    Peer liar = random.below(2) == 0 ? ps.worker : ps.chief;
    liar.route = "liar";
    if (random.below(4) == 0) liar.lease = random.below(4);
    if (random.below(4) == 0) liar.run = random.below(4);
    if (random.below(4) == 0) liar.worker = static_cast<std::uint32_t>(random.below(4));
    if (random.below(4) == 0) liar.incarnation = random.below(12);
    const auto type = static_cast<MessageType>(random.below(2) == 0 ? 1 + random.below(12) : 32 + random.below(11));
    // Messages that a legitimate sender with these identities could send are not the subject here.
    const bool honest = type == MessageType::kPush || type == MessageType::kLeave || type == MessageType::kDone;
    if (honest && liar.lease != 0) liar.lease = 99;
    Frame junk = Frame::allocate(random.below(64));
    for (std::byte& byte : junk.bytes()) byte = static_cast<std::byte>(random.below(256));
    Message message{liar.header(type), std::move(junk)};
    message.header.dtype = WireDtype::kRecord;
    message.header.slot = static_cast<std::uint8_t>(random.below(256));
    message.header.range_offset = static_cast<std::int64_t>(random.below(5));
    message.header.range_size = static_cast<std::int64_t>(random.below(5));
    ps.core.on_message(Sender{"liar"}, received(std::move(message)), ps.now);
    if (random.below(50) == 0) ps.tick(ps.now + 10);
    ps.actions.sent.clear();
  }
  Peer fresh = {.worker = 1, .incarnation = 99, .route = "fresh"};
  ps.tick(ps.now + kLeaseMs);
  ps.greet(fresh);
  ps.tick(ps.now + kProbeMs);
  CHECK(ps.say(fresh, fresh.plain(MessageType::kPull)) == parameters("fresh", "0 0", "0", 0));
}

}  // namespace distmnist::trace
