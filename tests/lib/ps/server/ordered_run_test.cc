// One ps in a run where ps 0 decides: the answer to each question, and what is refused.
#include "lib/ps/server/ordered_run.h"

#include <cmath>
#include <limits>

#include "tests/support/catch.h"
#include "tests/support/ps_script.h"

namespace distmnist::trace {
namespace {

// One of two ps tasks in a synchronous run of one or two workers. Worker 0 has pushed nothing yet.
struct Shard : PsScript {
  explicit Shard(std::uint32_t index, std::uint32_t num_workers = 1) : PsScript({index, 2, num_workers, kEpoch}) {
    CreateRecord record = small_model();
    record.strategy.sync = true;
    record.strategy.replicas_to_aggregate = num_workers;
    record.strategy.train_steps = 100;
    greet(chief);
    create(chief, {0, 0, 0}, record);
  }
  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a", .samples = 50};
};

// ps 0 of two in an asynchronous run with two workers, in which old pushes are dropped.
struct Dropping : PsScript {
  Dropping() : PsScript({0, 2, 2, kEpoch}) {
    CreateRecord record = small_model();
    record.strategy.staleness = StalenessPolicy::kDrop;
    record.strategy.drop_above = 1'000'000;
    record.strategy.train_steps = 1'000'000;
    greet(chief);
    greet(worker);
    create(chief, {0, 0, 0}, record);
  }
  Lines push_and_commit(Peer& peer, std::int64_t others_commit) {
    push(peer, {1, 1, 1});
    Lines out = commit(peer, others_commit);
    for (const PsRecorder::Sent& sent : last_sent) peer.step = sent.message.header.step;
    return out;
  }
  Lines join_again(Peer& peer) { return say(peer, peer.plain(MessageType::kJoin)); }

  Peer chief = {.worker = 0, .incarnation = 10, .chief = true, .route = "a", .samples = 50};
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b", .samples = 50};
};

Lines operator+(Lines first, const Lines& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

TEST_CASE("ps 0 answers a push only when it is committed, and names the update for the others") {
  Shard ps(0);
  CHECK(ps.join(ps.chief) == Lines{"a: token step 0, sample 0"} + parameters("a", "0 0", "0", 0));
  CHECK(ps.push(ps.chief, {1, 2, 3}).empty());
  CHECK(ps.pull(ps.chief) == parameters("a", "0 0", "0", 0));
  CHECK(ps.commit(ps.chief) ==
        Lines{"a: token step 1, sample 50 update 1{0:10/3}"} + parameters("a", "-1 -2", "-3", 1));
}

TEST_CASE("a worker gets the number type that it asks for, whatever the type of the gradients") {
  Shard ps(0);
  ps.chief.wire_dtype = WireDtype::kBf16;
  CHECK(any_holds(ps.join(ps.chief), "parameters (bf16) [0,2) 0 0 step 0"));
  CHECK(ps.push(ps.chief, {1, 2, 3}).empty());
  CHECK(ps.commit(ps.chief).at(1) == "a: parameters (bf16) [0,2) -1 -2 step 1");
  CHECK(ps.last_sent.at(1).message.payload.size() == 4);
  const std::byte* const memory = ps.last_sent.at(1).message.payload.bytes().data();
  ps.commit(ps.chief);  // asked again: the same memory is sent, which held the gradient before
  CHECK(ps.last_sent.at(1).message.payload.bytes().data() == memory);
  ps.chief.wire_dtype = WireDtype::kF32;
  CHECK(ps.pull(ps.chief) == parameters("a", "-1 -2", "-3", 1));

  Shard other(1);
  other.chief.wire_dtype = WireDtype::kF16;
  ++other.chief.sequence;
  other.say(other.chief, other.chief.push(0, {1, 2}));
  CHECK(other.say(other.chief, other.chief.push(2, {3})) == Lines{"a: staged"});
  CHECK(other.advance(other.chief, {{1, {{0, {10, other.chief.sequence}}}, 1}}).at(0) ==
        "a: parameters (f16) [0,2) -1 -2 step 1");
}

TEST_CASE("ps 0 names an update until its workers report that the other ps tasks have made it") {
  Dropping ps;
  ps.join(ps.chief);
  CHECK(ps.push_and_commit(ps.chief, 0).at(0) == "a: token step 1, sample 50 update 1{0:10/3}");
  CHECK(ps.join(ps.worker).at(0) == "b: token step 1, sample 0 update 1{0:10/3}");
  CHECK(ps.push_and_commit(ps.chief, 1).at(0) == "a: token step 2, sample 100 update 2{0:10/4}");
  CHECK(ps.push_and_commit(ps.worker, 1).at(0) ==
        "b: token step 3, sample 50, stale by 2 update 2{0:10/4} update 3{1:10/2}");
  CHECK(ps.push_and_commit(ps.chief, 3).at(0) == "a: token step 4, sample 150, stale by 1 update 4{0:10/5}");
}

TEST_CASE("a worker that does not report updates to the other ps tasks is refused") {
  Dropping ps;
  ps.join(ps.chief);
  ps.push_and_commit(ps.chief, 0);
  ps.join(ps.worker);
  ps.push_and_commit(ps.chief, 1);
  const Lines out = ps.push_and_commit(ps.worker, 0);
  REQUIRE(out.size() == 1);
  CHECK(out[0] == "b: refuse 1: worker:1 was told of update 1 but brought the other ps tasks only to update 0");
  CHECK(any_holds(ps.push_and_commit(ps.worker, 1), "b: token step 3"));
}

TEST_CASE("a worker is only responsible for the answer that it continued with, even if a duplicate is answered later") {
  Dropping ps;
  ps.join(ps.chief);
  CHECK(ps.push_and_commit(ps.chief, 0).at(0) == "a: token step 1, sample 50 update 1{0:10/3}");
  Peer asked = ps.chief;
  ps.join(ps.worker);
  ps.push_and_commit(ps.worker, 1);
  CHECK(ps.commit(asked, 0).at(0) == "a: token step 2, sample 50 update 2{1:10/2}");  // the duplicate
  CHECK(ps.push_and_commit(ps.chief, 1).at(0) ==
        "a: token step 3, sample 100, stale by 1 update 2{1:10/2} update 3{0:10/4}");
  CHECK(any_holds(ps.join_again(asked), "a: token"));  // an older duplicate says nothing about the newest answer
  CHECK(any_holds(ps.push_and_commit(ps.chief, 3), "a: token step 4"));
}

TEST_CASE("a worker cannot report that the others have made more updates than exist") {
  Dropping ps;
  ps.join(ps.chief);
  for (const std::int64_t commit : {std::int64_t{1}, std::numeric_limits<std::int64_t>::max()}) {
    CHECK(ps.push_and_commit(ps.chief, commit) ==
          Lines{fmt::format("a: refuse 1: worker:0 mentions update {}, but there have been only 0", commit)});
  }
  CHECK(ps.push_and_commit(ps.chief, 0).at(0) == "a: token step 1, sample 50 update 1{0:10/5}");
}

TEST_CASE("updates that no worker reports to the other ps tasks do not accumulate, even if each process is new") {
  Dropping ps;
  ps.say(ps.worker, ps.worker.plain(MessageType::kLeave));
  for (std::uint64_t number = 0; number < 20; ++number) {
    Peer process = {.worker = 1, .incarnation = 1000 + number, .route = "b", .samples = 50};
    ps.greet(process);
    const bool joins = number % 2 == 0;
    if (joins) ps.join(process);
    const Lines out = ps.push_and_commit(process, 0);
    if (number == 0) {
      CHECK(out.at(0) == "b: token step 1, sample 50 update 1{1:1000/2}");
    } else if (joins) {
      CHECK(out == Lines{"b: refuse 1: worker:1 was told of update 1 but brought the other ps tasks only to update 0"});
    } else {
      CHECK(holds(out.at(0), "b: token step 1"));  // out of turn, so its push did not count
    }
    ps.say(process, process.plain(MessageType::kLeave));
  }
}

TEST_CASE("another ps reports when a push is complete, and applies it once when it is told to") {
  Shard ps(1);
  ++ps.chief.sequence;
  CHECK(ps.say(ps.chief, ps.chief.push(0, {1, 2})).empty());
  CHECK(ps.say(ps.chief, ps.chief.push(2, {3})) == Lines{"a: staged"});
  CHECK(ps.push_again(ps.chief, {1, 2, 3}) == Lines{"a: staged"});
  const Update update{1, {{0, {10, 2}}}, 1};
  CHECK(ps.advance(ps.chief, {update}) == parameters("a", "-1 -2", "-3", 1));
  CHECK(ps.advance(ps.chief, {update}) == parameters("a", "-1 -2", "-3", 1));
}

TEST_CASE("an update that another ps cannot make is refused, and changes nothing") {
  Shard ps(1);
  ps.push(ps.chief, {1, 2, 3});
  const PushId known{0, {10, 2}}, unknown{0, {10, 9}};
  const auto refused = [&](const Update& update) {
    return any_holds(ps.advance(ps.chief, {update}), "a: refuse 1: ps:1 is at update 0 and cannot make update");
  };
  CHECK(refused({1, {unknown}, 1}));
  CHECK(refused({1, {known, unknown}, 1}));
  CHECK(refused({2, {known}, 1}));  // the first update is missing
  CHECK(refused({1, {}, 1}));
  for (const float rate_factor : {NAN, INFINITY, -1.0f, 0.0f, 1e30f}) {
    CHECK(any_holds(ps.advance(ps.chief, {{1, {known}, rate_factor}}), "a: refuse 1: an update asks for "));
  }
  CHECK(ps.pull(ps.chief) == parameters("a", "0 0", "0", 0));
}

TEST_CASE("another ps that is told two different updates with the same number ends the run") {
  const PushId first{0, {10, 2}}, second{0, {10, 3}};
  for (const Update& other : {Update{1, {second}, 1}, {1, {first}, 0.5f}, {1, {first, second}, 1}}) {
    Shard ps(1);
    ++ps.chief.sequence;
    ps.push_again(ps.chief, {1, 2, 3});
    CHECK(ps.advance(ps.chief, {{1, {first}, 1}}) == parameters("a", "-1 -2", "-3", 1));
    CHECK(ps.advance(ps.chief, {{1, {first}, 1}}) == parameters("a", "-1 -2", "-3", 1));
    CHECK(ps.advance(ps.chief, {other}).empty());
    REQUIRE(ps.core.failure());
    CHECK(holds(*ps.core.failure(), "ps:1 received two different versions of update 1, the second one from worker:0"));
  }
}

TEST_CASE("ps 0 refuses messages that report updates or dropped pushes to it") {
  Shard ps(0, 2);
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b", .samples = 50};
  ps.greet(worker);
  ps.join(ps.chief);
  ps.join(worker);
  ps.push(ps.chief, {2, 4, 6});
  CHECK(ps.commit(ps.chief).empty());  // accepted, waiting for the second push
  const std::uint64_t accepted = ps.chief.sequence;
  ++ps.chief.sequence;
  CHECK(ps.say(ps.chief, ps.chief.record(MessageType::kAdvance, encode(UpdatesRecord{{}, accepted}))).empty());
  CHECK(ps.actions.was_cut.contains("a"));
  CHECK(ps.advance(ps.chief, {{1, {{0, {10, accepted}}}, 1}}).empty());
  ps.push(worker, {4, 4, 4});
  CHECK(any_holds(ps.commit(worker), "b: parameters [0,2) -3 -4 step 1"));
}

TEST_CASE("only ps 0 answers joins and commits; invalid records are dropped") {
  Shard ps(1);
  CHECK(ps.join(ps.chief).empty());
  ps.push(ps.chief, {1, 2, 3});
  CHECK(ps.commit(ps.chief).empty());
  CHECK(ps.say(ps.chief, ps.chief.record(MessageType::kAdvance, frame_of(std::vector<float>{1}))).empty());
}

TEST_CASE("a commit without a push is not answered, also when every ps decides alone") {
  Shard ps(0);
  ps.join(ps.chief);
  CHECK(ps.commit(ps.chief).empty());
  PsScript plain({0, 1, 1, kEpoch});
  Peer chief = {.chief = true, .route = "a"};
  plain.greet(chief);
  plain.create(chief);
  CHECK(plain.commit(chief).empty());
}

TEST_CASE("a worker that pushes again during a step does not withdraw its accepted gradient") {
  Shard ps(0, 2);
  Peer worker = {.worker = 1, .incarnation = 10, .route = "b", .samples = 50};
  ps.greet(worker);
  ps.join(ps.chief);
  ps.join(worker);
  ps.push(ps.chief, {2, 2, 2});
  CHECK(ps.commit(ps.chief).empty());
  ps.chief.step = 7;  // none of our workers does this
  ps.push(ps.chief, {100, 100, 100});
  ps.push(worker, {4, 4, 4});
  CHECK(any_holds(ps.commit(worker), "parameters [0,2) -3 -3 step 1"));
}

TEST_CASE("a new model begins with new turns") {
  Shard ps(0, 2);
  ps.join(ps.chief);
  ps.push(ps.chief, {1, 1, 1});
  CHECK(ps.commit(ps.chief).empty());  // waits for worker 1,
  CreateRecord record = small_model();
  record.strategy.sync = true;
  record.strategy.replicas_to_aggregate = 1;
  record.strategy.train_steps = 100;
  ps.create(ps.chief, {5, 5, 5}, record, kRun + 1);
  CHECK(ps.tick(2 * kFirstNoticeMs).empty());  // and waits no longer
  CHECK(ps.join(ps.chief).at(0) == "a: token step 0, sample 0");
  ps.push(ps.chief, {1, 1, 1});
  CHECK(holds(ps.commit(ps.chief).at(0), "a: token step 1, sample 50"));
}

}  // namespace distmnist::trace
