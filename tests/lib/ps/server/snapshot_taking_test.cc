// Snapshots: however pushes and snapshots interleave, all ps tasks copy the model after the same update.
#include "lib/ps/server/snapshot_taking.h"

#include <algorithm>

#include "tests/support/catch.h"
#include "tests/support/ps_script.h"

namespace distmnist::trace {
namespace {

// One ps of a job with two workers; `chief` and `worker` are their sessions with this ps.
struct Shard : PsScript {
  explicit Shard(std::uint32_t index = 0, std::uint32_t num_ps = 1) : PsScript({index, num_ps, 2, kEpoch + index}) {
    greet(chief);
    greet(worker);
    create(chief);
  }
  Lines begin() { return say(chief, chief.plain(MessageType::kSnapshotBegin)); }
  Lines take(const std::vector<Update>& updates = {}) { return say(chief, chief.take(updates)); }

  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a"};
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b"};
};

// ps 0 of two. A push is staged there, and counts when it is committed.
struct Lead : Shard {
  Lead() : Shard(0, 2) { join(worker); }
  Lines push_and_commit(const std::vector<float>& gradient) {
    push(worker, gradient);
    return commit(worker, others_commit++);
  }
  std::int64_t others_commit = 0;
};

// Each of three pushes has sequence 2, 3, ... because the join was the first question.
Update update(std::int64_t commit, std::uint64_t sequence) {
  return {commit, {{1, {10, sequence}}}, 1};
}

Lines snapshot_of(const std::string& pair, const std::string& single, const std::string& rest = "") {
  return {"a: snapshot_data slot 0 [0,2) " + pair, "a: snapshot_data slot 0 [2,3) " + single, "a: snapshot_end" + rest};
}

}  // namespace

TEST_CASE("the only ps copies its model at once") {
  Shard ps;
  ps.push(ps.worker, {1, 1, 1});
  CHECK(ps.take() == snapshot_of("-1 -1", "-1"));
  CHECK(ps.push(ps.worker, {1, 1, 1}) == parameters("b", "-2 -2", "-2", 2));
}

TEST_CASE("from the start of a snapshot until it has copied its part, ps 0 makes no update") {
  Lead ps;
  CHECK(ps.push_and_commit({1, 2, 3}).size() == 3);  // a token and the parameters
  CHECK(ps.begin() == Lines{"a: snapshot_point update 1{1:10/2}"});
  CHECK(ps.push_and_commit({1, 1, 1}).empty());
  CHECK(ps.pull(ps.chief) == parameters("a", "-1 -2", "-3", 1));  // pulls do not wait
  const Lines lines = ps.take();
  REQUIRE(lines.size() == 6);
  CHECK(Lines(lines.begin(), lines.begin() + 3) == snapshot_of("-1 -2", "-3"));
  CHECK(Lines(lines.begin() + 3, lines.end()) == Lines{"b: token step 2, sample 0, stale by 1 update 2{1:10/3}",
                                                       "b: parameters [0,2) -2 -3 step 2",
                                                       "b: parameters [2,3) -4 step 2"});
}

TEST_CASE("another ps first makes the updates of the snapshot that it has not made yet") {
  Shard ps(1, 2);
  ps.worker.sequence = 1;
  ps.push(ps.worker, {1, 2, 3});
  ps.push(ps.worker, {1, 1, 1});  // of a later step, which is not in the snapshot
  CHECK(ps.pull(ps.chief) == parameters("a", "0 0", "0", 0));
}

TEST_CASE("an update of the snapshot is made once") {
  Shard ps(1, 2);
  ps.worker.sequence = 1;
  ps.push(ps.worker, {1, 2, 3});
  CHECK(ps.take({update(1, 2)}) == snapshot_of("-1 -2", "-3"));
  ps.now = kSnapshotRestMs;
  CHECK(ps.take({update(1, 2)}) == snapshot_of("-1 -2", "-3"));
}

TEST_CASE("a snapshot with an update whose gradient is not there is refused") {
  Shard ps(1, 2);
  const Lines lines = ps.take({update(1, 2)});
  REQUIRE(lines.size() == 1);
  CHECK(holds(lines[0], "a: refuse 1: ps:1 is at update 0 and cannot make update 1"));
}

TEST_CASE("only ps 0 holds updates") {
  Shard ps(1, 2);
  CHECK(ps.begin().empty());
  CHECK(any_holds(ps.actions.log_lines, "the start of a snapshot, which only ps:0 takes"));
}

TEST_CASE("a hold whose chief has died ends by itself, and the commits are decided") {
  Lead ps;
  ps.now = 5000;
  ps.begin();
  CHECK(ps.push_and_commit({1, 1, 1}).empty());
  CHECK(ps.tick(5000 + kSnapshotHoldMs - 1).empty());
  CHECK(ps.tick(5000 + kSnapshotHoldMs).at(0) == "b: token step 1, sample 0 update 1{1:10/2}");
  CHECK(ps.push_and_commit({1, 1, 1}).at(0) == "b: token step 2, sample 0, stale by 1 update 2{1:10/3}");
}

TEST_CASE("a hold ends even if the chief requests it again and again") {
  Lead ps;
  ps.begin();
  ps.push_and_commit({1, 1, 1});
  ps.tick(kSnapshotHoldMs - 1);
  CHECK(ps.begin() == Lines{"a: snapshot_point"});
  CHECK(ps.tick(kSnapshotHoldMs).size() == 3);
}

TEST_CASE("a commit that is held and repeated counts once") {
  Lead ps;
  ps.begin();
  CHECK(ps.push_and_commit({1, 1, 1}).empty());
  CHECK(ps.push_again(ps.worker, {1, 1, 1}).empty());
  CHECK(ps.commit(ps.worker).empty());
  ps.take();
  CHECK(ps.pull(ps.chief) == parameters("a", "-1 -1", "-1", 1));
}

TEST_CASE("a commit that is held is forgotten with its process") {
  Lead ps;
  ps.begin();
  ps.push_and_commit({1, 1, 1});
  ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
  CHECK(ps.take().size() == 3);
  CHECK(ps.pull(ps.chief) == parameters("a", "0 0", "0", 0));
}

TEST_CASE("repeated begins and takes are answered again") {
  Lead ps;
  ps.push_and_commit({1, 1, 1});
  ps.begin();
  CHECK(ps.begin() == Lines{"a: snapshot_point update 1{1:10/2}"});
  CHECK(ps.take() == snapshot_of("-1 -1", "-1"));
  for (int i = 0; i < 250; ++i) CHECK(ps.take().empty());  // again after a pause
  CHECK(ps.tick(kSnapshotRestMs - 1).empty());
  CHECK(ps.tick(kSnapshotRestMs) == snapshot_of("-1 -1", "-1"));
  CHECK(ps.push_and_commit({1, 1, 1}).size() == 3);  // nothing is held any more
}

TEST_CASE("the end of a snapshot contains its number of slots, so that a missing slot is noticed") {
  PsScript ps({0, 1, 1, kEpoch});
  Peer chief = {.worker = 0, .chief = true};
  ps.greet(chief);
  CreateRecord record = small_model();
  record.pieces.clear();
  record.optimizer.kind = OptimizerKind::kAdam;
  chief.run = kRun;
  ps.say(chief, chief.record(MessageType::kCreate, encode(record)));
  for (std::uint8_t slot = 0; slot <= 2; ++slot) ps.say(chief, chief.load(0, {}, slot));
  ps.say(chief, chief.plain(MessageType::kCreateEnd));
  ps.core.on_message(Sender{"a"}, chief.take(), ps.now);
  REQUIRE(ps.actions.sent.size() == 4);
  CHECK(ps.actions.sent.back().message.header.type == MessageType::kSnapshotEnd);
  CHECK(ps.actions.sent.back().message.header.slot == 2);
}

TEST_CASE("the end of a snapshot says which run this is and who is done") {
  Shard ps;
  ps.say(ps.worker, ps.worker.plain(MessageType::kDone));
  CHECK(ps.take() == snapshot_of("0 0", "0", " done 1"));
  const auto& end = ps.last_sent.back().message;
  CHECK(decode<SnapshotRecord>(end.payload.bytes())->progress.run_id == small_model().progress.run_id);
}

TEST_CASE("between two holds training continues for as long as the first one lasted") {
  Lead ps;
  ps.begin();
  ps.tick(kSnapshotHoldMs);
  CHECK(ps.begin().empty());
  CHECK(ps.push_and_commit({1, 1, 1}).size() == 3);  // not held
  CHECK(ps.tick(2 * kSnapshotHoldMs - 1).empty());
  CHECK(ps.tick(2 * kSnapshotHoldMs) == Lines{"a: snapshot_point update 1{1:10/2}"});
  CHECK(ps.push_and_commit({1, 1, 1}).empty());
}

TEST_CASE("a take without a hold is also delayed, and replaces the earlier question") {
  Lead ps;
  ps.begin();
  ps.tick(kSnapshotHoldMs);
  CHECK(ps.begin().empty());
  CHECK(ps.take().empty());
  CHECK(ps.tick(2 * kSnapshotHoldMs) == snapshot_of("0 0", "0"));
  CHECK(ps.tick(3 * kSnapshotHoldMs).empty());
}

TEST_CASE("a delayed question is forgotten with its process and with its model") {
  Lead ps;
  ps.begin();
  ps.tick(kSnapshotHoldMs);
  ps.begin();
  SECTION("its process") {
    ps.say(ps.chief, ps.chief.plain(MessageType::kLeave));
  }
  SECTION("its model") {
    ps.create(ps.chief, {0, 0, 0}, small_model(), kRun + 1);
  }
  CHECK(ps.tick(2 * kSnapshotHoldMs).empty());
}

TEST_CASE("however often the chief asks, training gets at least half of the time") {
  Lead ps;
  TimeMs held_ms = 0;
  bool waits = false;  // the worker, for the end of a hold
  for (ps.now = 0; ps.now < 60'000; ps.now += 100) {
    ps.begin();
    if (!waits) waits = ps.push_and_commit({1, 1, 1}).empty();
    if (waits) held_ms += 100;
    if (any_holds(ps.tick(ps.now), "b: token")) waits = false;
  }
  CHECK(held_ms > 20'000);
  CHECK(held_ms <= 32'000);
}

TEST_CASE("only the chief can take snapshots") {
  Shard ps;
  const std::string words = "b: refuse 2: only the chief may ";
  CHECK(holds(ps.say(ps.worker, ps.worker.plain(MessageType::kSnapshotBegin)).at(0), words));
  CHECK(holds(ps.say(ps.worker, ps.worker.take()).at(0), words));
  CHECK(ps.push(ps.worker, {1, 1, 1}).size() == 2);
}

TEST_CASE("a take with an invalid record is dropped and the hold ends by itself") {
  Lead ps;
  ps.begin();
  ps.push_and_commit({1, 1, 1});
  CHECK(ps.say(ps.chief, ps.chief.record(MessageType::kSnapshotTake, frame_of(std::vector<float>{1}))).empty());
  CHECK(ps.tick(kSnapshotHoldMs).size() == 3);
}

}  // namespace distmnist::trace
