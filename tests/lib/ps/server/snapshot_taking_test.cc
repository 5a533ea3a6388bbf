// Snapshots: however pushes and snapshots interleave, all ps tasks copy the model after the same pushes.
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
  Lines take(const PushMarks& marks) { return say(chief, chief.take(marks)); }

  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a"};
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b"};
};

// A job on two ps tasks.
struct TwoShards {
  Shard first{0, 2}, second{1, 2};
};

Lines snapshot_of(const std::string& pair, const std::string& single, const std::string& marks) {
  return {"a: snapshot_data slot 0 [0,2) " + pair, "a: snapshot_data slot 0 [2,3) " + single,
          "a: snapshot_end" + marks};
}
Lines operator+(Lines first, const Lines& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

TEST_CASE("pushes wait from the start of a snapshot to its end, then they are applied in order of arrival") {
  Shard ps;
  ps.push(ps.worker, {1, 1, 1});
  CHECK(ps.begin() == Lines{"a: snapshot_vector 1:10/1"});
  CHECK(ps.push(ps.worker, {1, 1, 1}).empty());
  CHECK(ps.pull(ps.worker) == parameters("b", "-1 -1", "-1", 1));  // pulls do not wait
  CHECK(ps.take({{1, {10, 1}}}) == snapshot_of("-1 -1", "-1", " 1:10/1") + parameters("b", "-2 -2", "-2", 2));
}

TEST_CASE("a push that reached one ps before the snapshot and the other after it is in both parts or in neither") {
  TwoShards job;
  CHECK(job.first.push(job.first.worker, {1, 2, 3}).size() == 2);
  CHECK(job.first.begin() == Lines{"a: snapshot_vector 1:10/1"});
  CHECK(job.second.begin() == Lines{"a: snapshot_vector"});
  CHECK(job.second.push(job.second.worker, {1, 2, 3}).empty());
  // The chief asks both for the newest push that any of them has applied.
  CHECK(job.first.take({{1, {10, 1}}}) == snapshot_of("-1 -2", "-3", " 1:10/1"));
  CHECK(job.second.take({{1, {10, 1}}}) == parameters("b", "-1 -2", "-3", 1) + snapshot_of("-1 -2", "-3", " 1:10/1"));
}

TEST_CASE("a ps that is missing a push of the snapshot waits for it and keeps the chunks that it has") {
  TwoShards job;
  job.first.push(job.first.worker, {1, 2, 3});
  ++job.second.worker.sequence;
  job.second.say(job.second.worker, job.second.worker.push(0, {1, 2}));
  job.first.begin();
  job.second.begin();
  CHECK(job.second.take({{1, {10, 1}}}).empty());
  CHECK(job.second.tick(kSnapshotHoldMs - 1).empty());
  CHECK(job.second.say(job.second.worker, job.second.worker.push(2, {3})) ==
        parameters("b", "-1 -2", "-3", 1) + snapshot_of("-1 -2", "-3", " 1:10/1"));
}

TEST_CASE("pushes after the snapshot wait on both ps tasks while it waits for an older push") {
  Shard ps;
  ps.begin();
  CHECK(ps.push(ps.chief, {4, 4, 4}).empty());
  CHECK(ps.take({{1, {10, 1}}}).empty());  // worker:1's push is on another ps, but not here yet
  CHECK(ps.push(ps.worker, {1, 1, 1}) ==
        parameters("b", "-1 -1", "-1", 1) + snapshot_of("-1 -1", "-1", " 1:10/1") + parameters("a", "-5 -5", "-5", 2));
}

TEST_CASE("a hold whose chief has died ends by itself, and the pushes are applied") {
  Shard ps;
  ps.now = 5000;
  ps.begin();
  CHECK(ps.push(ps.worker, {1, 1, 1}).empty());
  CHECK(ps.tick(5000 + kSnapshotHoldMs - 1).empty());
  CHECK(ps.tick(5000 + kSnapshotHoldMs) == parameters("b", "-1 -1", "-1", 1));
  CHECK(ps.push(ps.worker, {1, 1, 1}) == parameters("b", "-2 -2", "-2", 2));
}

TEST_CASE("the wait for a push that died with its worker is limited, and the log reports it") {
  Shard ps;
  ps.begin();
  CHECK(ps.take({{1, {10, 1}}}).empty());
  CHECK(ps.tick(kSnapshotHoldMs) == snapshot_of("0 0", "0", ""));
  CHECK(any_holds(ps.actions.log_lines, "a push that reached another ps but not this one"));
}

TEST_CASE("a take after the hold was released still waits for missing pushes") {
  Shard ps;
  ps.now = 10'000;
  ps.begin();
  ps.tick(10'000 + kSnapshotHoldMs);
  ps.now = 20'000;
  CHECK(ps.take({{1, {10, 1}}}).empty());
  CHECK(ps.tick(20'000 + kSnapshotHoldMs - 1).empty());
  CHECK(ps.push(ps.worker, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1) + snapshot_of("-1 -1", "-1", " 1:10/1"));
}

TEST_CASE("repeated begins and takes are answered again") {
  Shard ps;
  ps.push(ps.worker, {1, 1, 1});
  ps.begin();
  CHECK(ps.begin() == Lines{"a: snapshot_vector 1:10/1"});
  CHECK(ps.take({{1, {10, 1}}}) == snapshot_of("-1 -1", "-1", " 1:10/1"));
  for (int i = 0; i < 250; ++i) CHECK(ps.take({{1, {10, 1}}}).empty());  // again after a pause
  CHECK(ps.tick(kSnapshotRestMs - 1).empty());
  CHECK(ps.tick(kSnapshotRestMs) == snapshot_of("-1 -1", "-1", " 1:10/1"));
  CHECK(ps.push(ps.worker, {1, 1, 1}).size() == 2);  // nothing is held any more
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
  ps.core.on_message(Sender{"a"}, chief.take({}), ps.now);
  REQUIRE(ps.actions.sent.size() == 4);
  CHECK(ps.actions.sent.back().message.header.type == MessageType::kSnapshotEnd);
  CHECK(ps.actions.sent.back().message.header.slot == 2);
}

TEST_CASE("workers in a snapshot's marks that do not exist are ignored") {
  Shard ps;
  ps.begin();
  CHECK(ps.take({{77, {10, 1}}}) == snapshot_of("0 0", "0", ""));
  ps.now = kSnapshotRestMs;
  CHECK(ps.begin() == Lines{"a: snapshot_vector"});
}

TEST_CASE("a push that only one ps got, of a worker that has left, is not waited for") {
  TwoShards job;
  job.first.push(job.first.worker, {1, 2, 3});
  for (Shard* shard : {&job.first, &job.second}) {
    shard->say(shard->worker, shard->worker.plain(MessageType::kLeave));
  }
  CHECK(job.first.begin() == Lines{"a: snapshot_vector 1:10/1"});
  CHECK(job.first.take({{1, {10, 1}}}) == snapshot_of("-1 -2", "-3", " 1:10/1"));
  CHECK(job.second.take({{1, {10, 1}}}) == snapshot_of("0 0", "0", " 1:10/1"));
  job.second.now = kSnapshotRestMs;
  CHECK(job.second.begin() == Lines{"a: snapshot_vector 1:10/1"});
}

TEST_CASE("of a task's held pushes the newest process's is kept") {
  Shard ps;
  ps.begin();
  ps.push(ps.worker, {1, 1, 1});
  ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
  Peer newcomer = {.worker = 1, .incarnation = 11, .route = "c"};
  ps.greet(newcomer);
  CHECK(ps.push(newcomer, {7, 7, 7}).empty());
  CHECK(ps.take({}) == snapshot_of("0 0", "0", "") + parameters("c", "-7 -7", "-7", 1));
}

TEST_CASE("a push that is held and repeated is applied once") {
  Shard ps;
  ps.begin();
  CHECK(ps.push(ps.worker, {1, 1, 1}).empty());
  CHECK(ps.push_again(ps.worker, {1, 1, 1}).empty());
  CHECK(ps.take({}) == snapshot_of("0 0", "0", "") + parameters("b", "-1 -1", "-1", 1));
}

TEST_CASE("a hold ends even if the chief requests it again and again") {
  Shard ps;
  ps.begin();
  ps.push(ps.worker, {1, 1, 1});
  ps.tick(kSnapshotHoldMs - 1);
  CHECK(ps.begin() == Lines{"a: snapshot_vector"});
  CHECK(ps.tick(kSnapshotHoldMs) == parameters("b", "-1 -1", "-1", 1));
}

TEST_CASE("between two holds training continues for as long as the first one lasted") {
  Shard ps;
  ps.begin();
  ps.tick(kSnapshotHoldMs);
  CHECK(ps.begin().empty());
  CHECK(ps.push(ps.worker, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1));  // not held
  CHECK(ps.tick(2 * kSnapshotHoldMs - 1).empty());
  CHECK(ps.tick(2 * kSnapshotHoldMs) == Lines{"a: snapshot_vector 1:10/1"});
  CHECK(ps.push(ps.worker, {1, 1, 1}).empty());
}

TEST_CASE("a take that would need a new hold is also delayed, and replaces the earlier question") {
  Shard ps;
  ps.begin();
  ps.tick(kSnapshotHoldMs);
  CHECK(ps.begin().empty());
  CHECK(ps.take({}).empty());
  CHECK(ps.tick(2 * kSnapshotHoldMs) == snapshot_of("0 0", "0", ""));
  CHECK(ps.tick(3 * kSnapshotHoldMs).empty());
}

TEST_CASE("a delayed question is forgotten with its process and with its model") {
  Shard ps;
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
  Shard ps;
  TimeMs held_ms = 0;
  for (ps.now = 0; ps.now < 60'000; ps.now += 100) {
    ps.begin();
    if (ps.push(ps.worker, {1, 1, 1}).empty()) held_ms += 100;
    ps.tick(ps.now);
  }
  CHECK(held_ms <= 32'000);
}

TEST_CASE("only the chief can take snapshots") {
  Shard ps;
  const std::string words = "b: refuse 2: only the chief, worker:0, ";
  CHECK(holds(ps.say(ps.worker, ps.worker.plain(MessageType::kSnapshotBegin)).at(0), words));
  CHECK(holds(ps.say(ps.worker, ps.worker.take({})).at(0), words));
  CHECK(ps.push(ps.worker, {1, 1, 1}).size() == 2);
}

TEST_CASE("a push of a replaced process is not waited for, whatever the incarnations") {
  for (const std::uint64_t next : {std::uint64_t{3}, std::uint64_t{30}}) {
    TwoShards job;
    job.first.push(job.first.worker, {1, 2, 3});
    for (Shard* ps : {&job.first, &job.second}) {
      ps->say(ps->worker, ps->worker.plain(MessageType::kLeave));
      Peer newcomer = {.worker = 1, .incarnation = next, .route = "c"};
      ps->greet(newcomer);
    }
    job.second.begin();
    CHECK(job.second.take({{1, {10, 1}}}) == snapshot_of("0 0", "0", ""));
  }
}

TEST_CASE("a held push is applied before the pushes of its process's successor, whatever the incarnations") {
  for (const std::uint64_t next : {std::uint64_t{3}, std::uint64_t{30}}) {
    Shard ps;
    ps.begin();
    ps.push(ps.worker, {1, 1, 1});
    ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
    Peer newcomer = {.worker = 1, .incarnation = next, .route = "c"};
    ps.greet(newcomer);
    const std::string marks = fmt::format(" 1:{}/1", next);
    SECTION(fmt::format("the push is on this ps when the snapshot is taken: {}", next)) {
      CHECK(ps.take({{1, {next, 1}}}) == parameters("b", "-1 -1", "-1", 1));
      CHECK(ps.push(newcomer, {4, 4, 4}) == parameters("c", "-5 -5", "-5", 2) + snapshot_of("-5 -5", "-5", marks));
      CHECK(ps.push_again(newcomer, {4, 4, 4}) == parameters("c", "-5 -5", "-5", 2));
    }
    SECTION(fmt::format("another ps only knows the old process: {}", next)) {
      CHECK(ps.push(newcomer, {4, 4, 4}).empty());  // in place of the held push
      CHECK(ps.take({}) == snapshot_of("0 0", "0", "") + parameters("c", "-4 -4", "-4", 1));
    }
  }
}

TEST_CASE("a take with an invalid record is dropped and the hold ends by itself") {
  Shard ps;
  ps.begin();
  ps.push(ps.worker, {1, 1, 1});
  CHECK(ps.say(ps.chief, ps.chief.record(MessageType::kSnapshotTake, frame_of(std::vector<float>{1}))).empty());
  CHECK(ps.tick(kSnapshotHoldMs) == parameters("b", "-1 -1", "-1", 1));
}

}  // namespace distmnist::trace
