#include "lib/ps/client/exchange.h"

#include "tests/support/catch.h"
#include "tests/support/exchange_script.h"

namespace distmnist::trace {

// ---- A new session, a new model ----

TEST_CASE("a ps that calls the session stale is greeted again, and the request continues") {
  Script worker;
  worker.start();
  worker.push(2);
  CHECK(worker.says(MessageType::kStale, 2) == Lines{"send hello seq 1"});
  CHECK(worker.says(MessageType::kStale, 2).empty());  // one stale for each part; one greeting is enough
  worker.ps.lease = 8;
  CHECK(worker.welcome() == kPushLines);
  CHECK(worker.exchange.stale().empty());
}

TEST_CASE("a model of a different run, or a restarted ps, makes the session stale") {
  const auto stale_after = [](auto change) {
    Script worker;
    worker.start();
    worker.push(2);
    worker.says(MessageType::kStale, 2);
    change(worker.ps);
    const Lines out = worker.welcome(worker.ps.run == 0 ? ModelState::kAwaitingModel : ModelState::kReady);
    return !worker.exchange.stale().empty() && out.empty();
  };
  CHECK(stale_after([](Peer& ps) { ps.run = kRun + 1; }));
  CHECK(stale_after([](Peer& ps) { ps.run = 0, ps.ps_epoch = kEpoch + 1; }));
  CHECK(stale_after([](Peer& ps) { ps.ps_epoch = kEpoch + 1; }));
  CHECK_FALSE(stale_after([](Peer& ps) { ++ps.lease; }));
}

TEST_CASE("a notice of a new model makes the session stale without a question, and opening again accepts the model") {
  Script worker;
  worker.start();
  worker.ps.run = kRun + 1;
  worker.welcome(ModelState::kReady, 40);
  CHECK_FALSE(worker.exchange.stale().empty());
  CHECK(worker.open(5) == Lines{"send hello seq 5"});
  worker.welcome(ModelState::kReady, 40);
  CHECK(worker.exchange.stale().empty());
  CHECK(worker.exchange.opened());
  CHECK(worker.exchange.run() == kRun + 1);
  CHECK(worker.exchange.step() == 40);
}

TEST_CASE("a peer that accepts connections but sends no welcome is soon reported as no ps and given up in time") {
  Script worker;
  worker.open();
  CHECK(worker.connect() == Lines{"send hello seq 1"});
  CHECK(worker.tick(kFirstReportMs) ==
        Lines{"send hello seq 1", "report ps:0 localhost:2222 has not answered yet; trying for another 59 s"});
  CHECK(worker.tick(kNoWelcomeMs - 1).empty());
  const Lines out = worker.tick(kNoWelcomeMs);
  CHECK(any_holds(out, "report ps:0 localhost:2222 does not answer like a ps"));
  CHECK(worker.tick(kNoWelcomeMs + 1).empty());
  // A ps that was only slow is accepted.
  worker.welcome();
  CHECK(worker.exchange.opened());
  CHECK(worker.tick(kWaitMs).empty());
}

TEST_CASE("a probe is answered at once, in every state") {
  Script worker;
  worker.open();
  worker.connect();
  CHECK(worker.says(MessageType::kProbe) == Lines{"send ping seq 0"});
  worker.welcome();
  CHECK(worker.says(MessageType::kProbe) == Lines{"send ping seq 0"});
  worker.push(2);
  CHECK(worker.says(MessageType::kProbe) == Lines{"send ping seq 2"});
}

TEST_CASE("a worker says that it leaves if it has a session, and nothing otherwise") {
  Script worker;
  worker.open();
  worker.exchange.leave();
  CHECK(worker.take().empty());
  worker.connect();
  worker.welcome();
  worker.exchange.leave();
  CHECK(worker.take() == Lines{"send leave seq 0"});
}

// ---- The chief ----

TEST_CASE("a creation is answered by the welcome of its own run") {
  Script chief(true);
  chief.open();
  chief.connect();
  chief.ps.run = 0;
  chief.welcome(ModelState::kAwaitingModel);
  chief.ask(MessageType::kCreate, MessageType::kWelcome, 2);
  chief.welcome(ModelState::kAwaitingModel);
  CHECK_FALSE(chief.exchange.answered());
  chief.ps.run = kRun;
  chief.welcome();
  CHECK(chief.exchange.answered());
  CHECK(chief.exchange.run() == kRun);
  CHECK(chief.exchange.stale().empty());
}

TEST_CASE("a creation during which the connection breaks is sent again unless it had arrived") {
  for (const bool arrived : {false, true}) {
    Script chief(true);
    chief.open();
    chief.connect();
    chief.ps.run = 0;
    chief.welcome(ModelState::kAwaitingModel);
    CHECK(chief.ask(MessageType::kCreate, MessageType::kWelcome, 2) == Lines{"send create seq 2"});
    chief.exchange.on_broken("cannot be reached", chief.now);
    chief.take();
    chief.connect();
    if (arrived) {
      chief.ps.run = kRun;
      CHECK(chief.welcome().empty());
    } else {
      CHECK(chief.welcome(ModelState::kAwaitingModel) == Lines{"send create seq 2"});
    }
    CHECK(chief.exchange.answered() == arrived);
  }
}

TEST_CASE(
    "a creation is not sent again to a ps that restarted during it, because the first one may have received pushes") {
  Script chief(true);
  chief.open();
  chief.connect();
  chief.ps.run = 0;
  chief.welcome(ModelState::kAwaitingModel);
  chief.ask(MessageType::kCreate, MessageType::kWelcome, 2);
  chief.exchange.on_broken("closed the connection", chief.now);
  chief.take();
  chief.connect();
  chief.ps.ps_epoch = kEpoch + 1;
  CHECK(chief.welcome(ModelState::kAwaitingModel).empty());
  CHECK_FALSE(chief.exchange.stale().empty());
}

TEST_CASE("a broken connection is replaced even if nothing is due, because the ps may have restarted") {
  Script worker;
  worker.start();
  CHECK(worker.exchange.connected());
  worker.exchange.on_broken("closed the connection", worker.now);
  CHECK(worker.take() == Lines{"reconnect"});
  CHECK(worker.exchange.wants_connection());
  CHECK(worker.connect() == Lines{"send hello seq 1"});
  worker.ps.ps_epoch = kEpoch + 1;
  worker.ps.run = kRun + 1;
  worker.welcome();
  CHECK_FALSE(worker.exchange.stale().empty());
}

TEST_CASE("after a ps has heard that this worker is done, it may end") {
  Script worker;
  worker.start();
  worker.ask(MessageType::kDone, MessageType::kDoneAck, 2);
  CHECK(worker.exchange.connected());
  worker.says(MessageType::kDoneAck, 2);
  CHECK(worker.exchange.answered());
  CHECK_FALSE(worker.exchange.connected());
}

TEST_CASE("a chief that replaces a model does not consider its own new run stale") {
  Script chief(true);
  chief.start();
  chief.exchange.begin({MessageType::kWelcome, 2, kRun + 1}, chief.now);
  chief.exchange.add({MessageType::kCreateEnd, WireDtype::kNone, 0, {}, {}});
  chief.ps.run = kRun + 1;
  chief.welcome();
  CHECK(chief.exchange.answered());
  CHECK(chief.exchange.stale().empty());
  CHECK(chief.exchange.run() == kRun + 1);
}

// ---- Snapshots ----

TEST_CASE("a snapshot is complete with its end record and every chunk of every slot") {
  Script chief(true);
  chief.start();
  chief.ask(MessageType::kSnapshotTake, MessageType::kSnapshotEnd, 2);
  CHECK(chief.snapshot_data(2, 0, 0, {1, 2}) == Lines{"values 0 [0,2) 1 2"});
  CHECK(chief.snapshot_data(2, 0, 2, {3}) == Lines{"values 0 [2,3) 3"});
  CHECK(chief.snapshot_data(2, 1, 0, {4, 5}) == Lines{"values 1 [0,2) 4 5"});
  CHECK(chief.snapshot_data(2, 1, 2, {6}) == Lines{"values 1 [2,3) 6"});
  CHECK_FALSE(chief.exchange.answered());
  chief.snapshot_end(2, 1);
  CHECK(chief.exchange.answered());
  const RunProgress& progress = chief.exchange.snapshot().progress;
  CHECK(progress.run_id == 9);
  CHECK(progress.consumed_samples == ConsumedSamples{{1, 4}});
  CHECK(progress.done == std::set<std::uint32_t>{0});
}

TEST_CASE("a snapshot with a missing chunk or slot is incomplete and is requested again") {
  for (const bool whole_slot : {false, true}) {
    Script chief(true);
    chief.start();
    chief.ask(MessageType::kSnapshotTake, MessageType::kSnapshotEnd, 2);
    chief.snapshot_data(2, 0, 0, {1, 2});
    chief.snapshot_data(2, 0, 2, {3});
    if (!whole_slot) chief.snapshot_data(2, 1, 0, {4, 5});
    chief.snapshot_end(2, 1);
    CHECK_FALSE(chief.exchange.answered());
    chief.now = kPingAfterMs;
    chief.says(MessageType::kPong);
    CHECK(any_holds(chief.tick(kAnswerMs), "send snapshot_take seq 2"));
  }
}

TEST_CASE("a snapshot belongs to one commit") {
  Script chief(true);
  chief.start();
  chief.ask(MessageType::kSnapshotTake, MessageType::kSnapshotEnd, 2);
  chief.snapshot_data(2, 0, 0, {1, 2}, 5);
  chief.snapshot_data(2, 0, 2, {3}, 8);  // part of the second answer
  chief.snapshot_end(2, 0, 8);
  CHECK_FALSE(chief.exchange.answered());
  chief.snapshot_data(2, 0, 0, {6, 7}, 8);
  chief.snapshot_end(2, 0, 5);
  CHECK_FALSE(chief.exchange.answered());
  chief.snapshot_end(2, 0, 8);
  CHECK(chief.exchange.answered());
}

TEST_CASE("an invalid record about a snapshot is ignored") {
  Script chief(true);
  chief.start();
  chief.ask(MessageType::kSnapshotBegin, MessageType::kSnapshotPoint, 2);
  chief.says(MessageType::kSnapshotPoint, 2);
  CHECK_FALSE(chief.exchange.answered());
  Message point = chief.ps.record(MessageType::kSnapshotPoint, encode(UpdatesRecord{{{5, {{0, {1, 2}}}, 1}}}));
  point.header.sequence = 2;
  chief.says(std::move(point));
  REQUIRE(chief.exchange.answered());
  CHECK(chief.exchange.point().updates.at(0).commit == 5);
}

TEST_CASE("a ps without parameters takes part with empty chunks") {
  Script worker(false, {});
  worker.start();
  worker.exchange.begin({MessageType::kParameters, 2, kRun}, worker.now);
  worker.exchange.add({MessageType::kPush, WireDtype::kF32, 0, {}, {}});
  CHECK(worker.take() == Lines{"send push seq 2 [0,0)"});
  CHECK(worker.parameters(2, 0, {}).empty());  // no values to pass on,
  CHECK(worker.exchange.answered());           // but an answer
}

TEST_CASE("a welcome that nobody asked for does not change the step of an answer") {
  Script chief(true);
  chief.start();
  chief.ask(MessageType::kSnapshotTake, MessageType::kSnapshotEnd, 2);
  chief.snapshot_data(2, 0, 0, {1, 2});
  chief.snapshot_data(2, 0, 2, {3});
  chief.snapshot_end(2, 0);
  REQUIRE(chief.exchange.answered());
  const std::int64_t step = chief.exchange.step();
  chief.welcome(ModelState::kReady, step + 5);
  CHECK(chief.exchange.step() == step);
}

TEST_CASE("a chief whose place another worker has taken opens its session again") {
  Script chief(true);
  chief.start();
  CHECK(chief.exchange.leads());
  Message welcome = chief.ps.record(MessageType::kWelcome, encode(WelcomeRecord{ModelState::kReady, 0, {}}));
  chief.says(std::move(welcome));
  CHECK(chief.exchange.stale() == "worker:0 has become the chief");
  CHECK_FALSE(chief.exchange.leads());
}

TEST_CASE("a worker learns from any message of the ps that the run lacks a chief") {
  Script worker;
  worker.start();
  CHECK_FALSE(worker.exchange.lacks_chief());
  Message pong{worker.ps.header_of(MessageType::kPong, 0), {}};
  pong.header.flags |= kLacksChief;
  worker.says(std::move(pong));
  CHECK(worker.exchange.lacks_chief());
  worker.says(MessageType::kPong);
  CHECK_FALSE(worker.exchange.lacks_chief());
}

}  // namespace distmnist::trace
