#include "lib/ps/server/container.h"

#include "tests/support/catch.h"
#include "tests/support/container_job.h"

namespace distmnist::trace {

// ---- Admission ----

TEST_CASE("a worker with different flags than the chief is refused with both values") {
  const Fingerprint other = {{"--model", "mnist_cnn"}, {"--batch_size", "100"}};
  const std::string words = "b: refuse 5: worker:1 does not fit this job: --batch_size is 100 here but 50 at the chief";

  SECTION("after the model") {
    PsScript ps;
    Peer chief = chief_peer(), worker = worker_peer();
    ps.greet(chief);
    ps.create(chief);
    const Lines out = ps.greet(worker, other);
    REQUIRE(out.size() == 1);
    CHECK(holds(out[0], words));
  }
  SECTION("before the model: as soon as the model is there") {
    PsScript ps;
    Peer chief = chief_peer(), worker = worker_peer();
    CHECK(ps.greet(worker, other) == Lines{"b: welcome awaiting_model, step 0"});
    ps.greet(chief);
    const Lines out = ps.create(chief);
    REQUIRE(out.size() == 2);
    CHECK(out[0] == "a: welcome ready, step 0");
    CHECK(holds(out[1], words));
  }
}

TEST_CASE(
    "a refused process takes no part: it does not count as alive and does not displace the process that has the task") {
  Job job;
  job.tick(kLeaseMs);  // worker:1 is silent for long but not gone
  Peer misfit = successor_of(job.worker);
  CHECK(holds(job.greet(misfit, {{"--model", "softmax"}, {"--batch_size", "50"}}).at(0), "b': refuse 5: "));
  CHECK(job.core.members().num_live() == 0);
  CHECK(job.push(job.worker, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1));

  PsScript early;
  Peer chief = chief_peer(), worker = worker_peer();
  early.greet(worker, {{"--model", "softmax"}, {"--batch_size", "50"}});
  early.greet(chief);
  early.create(chief);
  CHECK(early.core.members().num_live() == 1);
}

TEST_CASE("values of any length in a fingerprint are compared and quoted safely") {
  PsScript ps;
  Peer chief = chief_peer(), worker = worker_peer();
  ps.greet(chief, {{"--model", std::string(4000, 'x')}});
  ps.create(chief);
  const Lines out = ps.greet(worker, {{"--model", std::string(4000, 'y')}});
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "b: refuse 5: worker:1 does not fit this job: --model is yyy"));
}

TEST_CASE("a chief of a different job than the model's is refused with both values") {
  Job job;
  job.say(job.chief, job.chief.plain(MessageType::kLeave));
  Peer other = successor_of(job.chief);
  const Lines out = job.greet(other, {{"--model", "softmax"}, {"--batch_size", "50"}});
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "a': refuse 5: "));
  CHECK(holds(out[0], "--model is softmax here but mnist_cnn at the chief"));
}

TEST_CASE("a worker with a different cluster description is refused") {
  PsScript ps({1, 2, 2, kEpoch});
  Peer worker = worker_peer();
  for (const Message& hello : {worker.hello(kJob, 3, 2, 1), worker.hello(kJob, 2, 1, 1), worker.hello(kJob, 2, 2, 0)}) {
    const Lines out = ps.say(worker, copy_of(hello));
    REQUIRE(out.size() == 1);
    CHECK(holds(out[0], "b: refuse 2: the cluster descriptions differ: this is ps:1 of 2 with 2 workers"));
  }
  CHECK(ps.say(worker, worker.hello(kJob, 2, 2, 1)) == Lines{"b: welcome awaiting_model, step 0"});
}

TEST_CASE("a worker index outside the cluster is refused for every message") {
  Job job;
  Peer third = {.worker = 2, .incarnation = 10, .route = "c"};
  for (const MessageType type : {MessageType::kPing, MessageType::kPush, MessageType::kDone}) {
    const Lines out = job.say(third, third.plain(type));
    REQUIRE(out.size() == 1);
    CHECK(holds(out[0], "c: refuse 2: worker:2 is not in the cluster of ps:0, which has 2 workers"));
  }
  const Lines out = job.greet(third);
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "c: refuse 2: "));
}

TEST_CASE("a hello with an invalid record is dropped") {
  PsScript ps;
  Peer worker = worker_peer();
  CHECK(ps.say(worker, worker.plain(MessageType::kHello)).empty());
  CHECK(ps.say(worker, worker.record(MessageType::kHello, frame_of(std::vector<float>{1, 2}))).empty());
  CHECK(ps.core.members().num_live() == 0);
}

TEST_CASE(
    "a message from an unknown process, or with an old lease, epoch or run, is answered stale and has no effect") {
  Job job;
  const auto says_stale = [&](auto change) {
    Peer peer = job.worker;
    change(peer);
    return job.push(peer, {1, 1, 1}) == Lines{"b: stale", "b: stale"};
  };
  CHECK(says_stale([](Peer& p) { ++p.run; }));
  CHECK(says_stale([](Peer& p) { p.run = 0; }));
  CHECK(says_stale([](Peer& p) { ++p.ps_epoch; }));
  CHECK(says_stale([](Peer& p) { --p.lease; }));
  CHECK(says_stale([](Peer& p) { ++p.lease; }));
  CHECK(says_stale([](Peer& p) { ++p.incarnation; }));  // a newer process that has not sent a greeting
  CHECK(job.pull(job.chief) == parameters("a", "0 0", "0", 0));
}

TEST_CASE("without a model everything that needs one is answered stale") {
  PsScript ps;
  Peer worker = worker_peer();
  ps.greet(worker);
  CHECK(ps.pull(worker) == Lines{"b: stale"});
  CHECK(ps.push(worker, {1, 1, 1}) == Lines{"b: stale", "b: stale"});
  Peer chief = chief_peer();
  ps.greet(chief);
  CHECK(ps.say(chief, chief.plain(MessageType::kSnapshotBegin)) == Lines{"a: stale"});
  CHECK(ps.say(chief, chief.take({})) == Lines{"a: stale"});
  CHECK(ps.say(chief, chief.plain(MessageType::kAwaitOthers)) == Lines{"a: stale"});
  CHECK(ps.say(worker, worker.plain(MessageType::kPing)) == Lines{"b: pong"});
}

TEST_CASE("messages that only a ps may send are dropped") {
  Job job;
  for (const MessageType type : {MessageType::kParameters, MessageType::kWelcome, MessageType::kPong,
                                 MessageType::kStale, MessageType::kRefuse, MessageType::kProbe}) {
    CHECK(job.say(job.worker, job.worker.plain(type)).empty());
  }
}

// ---- Pushes ----

TEST_CASE("a push is applied and answered with the new parameters, and a pull returns the same") {
  Job job({10, 20, 30});
  CHECK(job.push(job.worker, {1, 2, 3}) == parameters("b", "9 18", "27", 1));
  CHECK(job.pull(job.chief) == parameters("a", "9 18", "27", 1));
}

TEST_CASE("a push that is sent twice is applied once and answered twice") {
  Job job;
  CHECK(job.push(job.worker, {1, 2, 3}) == parameters("b", "-1 -2", "-3", 1));
  CHECK(job.push_again(job.worker, {1, 2, 3}) == parameters("b", "-1 -2", "-3", 1));
  job.push(job.chief, {1, 1, 1});
  CHECK(job.push_again(job.worker, {1, 2, 3}) == parameters("b", "-2 -3", "-4", 2));
}

TEST_CASE("a push that was overtaken by the worker's next one is neither applied nor answered") {
  Job job;
  job.push(job.worker, {1, 1, 1});
  Peer old = job.worker;
  job.push(job.worker, {1, 1, 1});
  CHECK(job.push_again(old, {5, 5, 5}).empty());
  CHECK(job.pull(job.chief) == parameters("a", "-2 -2", "-2", 2));
}

TEST_CASE("an incomplete push is never applied") {
  Job job;
  ++job.worker.sequence;
  CHECK(job.say(job.worker, job.worker.push(0, {1, 2})).empty());
  CHECK(job.pull(job.chief) == parameters("a", "0 0", "0", 0));
  ++job.worker.sequence;  // it gave up and pushes the next one
  CHECK(job.say(job.worker, job.worker.push(2, {3})).empty());
  CHECK(job.pull(job.chief) == parameters("a", "0 0", "0", 0));
  CHECK(job.say(job.worker, job.worker.push(0, {1, 2})) == parameters("b", "-1 -2", "-3", 1));
}

TEST_CASE("chunks of several workers can arrive in any order and mixture, and repeatedly") {
  Job job;
  ++job.worker.sequence;
  ++job.chief.sequence;
  CHECK(job.say(job.worker, job.worker.push(2, {3})).empty());
  CHECK(job.say(job.chief, job.chief.push(0, {10, 10})).empty());
  CHECK(job.say(job.worker, job.worker.push(2, {3})).empty());
  CHECK(job.say(job.worker, job.worker.push(0, {1, 2})) == parameters("b", "-1 -2", "-3", 1));
  CHECK(job.say(job.chief, job.chief.push(2, {10})) == parameters("a", "-11 -12", "-13", 2));
  CHECK(job.say(job.chief, job.chief.push(2, {10}))
            .empty());  // a late duplicate cannot start a push that could be applied
  CHECK(job.pull(job.chief) == parameters("a", "-11 -12", "-13", 2));
}

TEST_CASE("ranges that this shard does not hold are dropped") {
  Job job;
  ++job.worker.sequence;
  CHECK(job.say(job.worker, job.worker.push(0, {1, 2, 3})).empty());
  CHECK(job.say(job.worker, job.worker.push(1, {1, 2})).empty());
  CHECK(job.say(job.worker, job.worker.push(3, {1})).empty());
  CHECK(job.say(job.worker, job.worker.push(0, {})).empty());
  CHECK(job.pull(job.chief) == parameters("a", "0 0", "0", 0));
}

TEST_CASE("a shard without parameters counts pushes and answers with an empty range") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  chief.run = kRun;
  CreateRecord record = small_model();
  record.pieces.clear();
  ps.say(chief, chief.record(MessageType::kCreate, encode(record)));
  ps.say(chief, chief.load(0, {}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)) == Lines{"a: welcome ready, step 0"});
  ++chief.sequence;
  CHECK(ps.say(chief, chief.push(0, {})) == Lines{"a: parameters [0,0) step 1"});
  CHECK(ps.pull(chief) == Lines{"a: parameters [0,0) step 1"});
}

// ---- One process for each task ----

TEST_CASE("a new process takes over a task when the old one does not answer a probe, and nothing is applied twice") {
  Job job;
  job.push(job.worker, {1, 1, 1});
  job.say(job.worker, job.worker.plain(MessageType::kPing));
  Peer newcomer = successor_of(job.worker);
  job.now = 1000;
  CHECK(any_holds(job.greet(newcomer), "b: probe"));
  CHECK(job.tick(1000 + kProbeMs - 1).empty());
  CHECK(job.tick(1000 + kProbeMs) == Lines{"b': welcome ready, step 1"});

  const Lines late = job.push_again(job.worker, {1, 1, 1});
  REQUIRE(late.size() == 2);
  CHECK(holds(late[0], "b: refuse 6: another process has taken over worker:1"));
  CHECK(job.push(newcomer, {1, 1, 1}) == parameters("b'", "-2 -2", "-2", 2));  // its sequences begin at 1 again
  CHECK(holds(job.greet(job.worker).at(0), "b: refuse 6: "));
}

TEST_CASE("the old process is also probed at its heartbeat, and its answer turns the newcomer away") {
  Job job;
  Peer heartbeat = job.worker, newcomer = successor_of(job.worker);
  heartbeat.route = "b's heartbeat";
  CHECK(job.say(heartbeat, heartbeat.plain(MessageType::kPing)) == Lines{"b's heartbeat: pong"});
  CHECK(job.greet(newcomer) == Lines{"b: probe", "b's heartbeat: probe"});
  const Lines out = job.say(heartbeat, heartbeat.plain(MessageType::kPing));
  REQUIRE(out.size() == 2);
  CHECK(holds(out[0], "b': refuse 6: worker:1 is already running"));
  CHECK(job.tick(2 * kProbeMs).empty());
  CHECK(job.push(job.worker, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1));
}

TEST_CASE("an old process that sends a greeting over a new connection also turns the newcomer away") {
  Job job;
  Peer newcomer = successor_of(job.worker);
  job.greet(newcomer);
  job.worker.route = "b again";
  const Lines out = job.greet(job.worker);
  REQUIRE(out.size() == 2);
  CHECK(holds(out[0], "b': refuse 6: "));
  CHECK(out[1] == "b again: welcome ready, step 0");
  CHECK(job.tick(kProbeMs).empty());
}

TEST_CASE("a newcomer that finds the old process leaving takes its place") {
  Job job;
  Peer newcomer = successor_of(job.worker);
  job.greet(newcomer);
  CHECK(job.say(job.worker, job.worker.plain(MessageType::kLeave)).empty());
  CHECK(job.tick(100) == Lines{"b': welcome ready, step 0"});
}

TEST_CASE("the first of two newcomers for a task is admitted, and probed when the second one arrives") {
  Job job;
  Peer second = successor_of(job.worker), third = successor_of(second);
  CHECK(job.greet(second) == Lines{"b: probe"});
  CHECK(job.greet(third) == Lines{"b: probe"});
  CHECK(job.tick(kProbeMs) == Lines{"b': welcome ready, step 0", "b': probe"});
  SECTION("it is alive") {
    const Lines out = job.say(second, second.plain(MessageType::kPing));
    REQUIRE(out.size() == 2);
    CHECK(holds(out[0], "b'': refuse 6: worker:1 is already running"));
    CHECK(job.tick(3 * kProbeMs).empty());
  }
  SECTION("it has died meanwhile") {
    CHECK(job.tick(2 * kProbeMs) == Lines{"b'': welcome ready, step 0"});
  }
}

TEST_CASE("newcomers for a task beyond the limit are refused") {
  Job job;
  std::vector<Peer> newcomers = {successor_of(job.worker)};
  while (newcomers.size() <= kMaxNewcomers) newcomers.push_back(successor_of(newcomers.back()));
  for (std::size_t i = 0; i < kMaxNewcomers; ++i) CHECK(job.greet(newcomers[i]) == Lines{"b: probe"});
  CHECK(holds(job.greet(newcomers.back()).at(0), "refuse 6: 4 other processes are already asking to be worker:1"));
}

TEST_CASE("a silent worker is reported lost once, and its return as well; its session continues") {
  Job job;
  job.now = 100;
  job.say(job.chief, job.chief.plain(MessageType::kPing));
  CHECK(job.tick(kLeaseMs).empty());
  CHECK(any_holds(job.actions.log_lines, "worker:1 silent for 15.0 s: lost"));
  CHECK_FALSE(any_holds(job.actions.log_lines, "worker:0 silent"));
  CHECK(job.push(job.worker, {1, 1, 1}) == parameters("b", "-1 -1", "-1", 1));
  CHECK(any_holds(job.actions.log_lines, "worker:1 is back"));
}

// ---- The end ----

TEST_CASE("a worker that waits for the others is notified when they are done, and the run is over when all are done") {
  Job job;
  CHECK(job.say(job.chief, job.chief.plain(MessageType::kAwaitOthers)).empty());
  // The chief learns of it, in case the ps is lost. The worker ends after the chief.
  CHECK(job.say(job.worker, job.worker.plain(MessageType::kDone)) ==
        Lines{"a: welcome ready, step 0 done 1", "a: others_done"});
  CHECK_FALSE(job.core.ended());
  CHECK(job.say(job.chief, job.chief.plain(MessageType::kAwaitOthers)) == Lines{"a: others_done"});
  CHECK(job.say(job.chief, job.chief.plain(MessageType::kDone)) == Lines{"a: done_ack", "b: done_ack"});
  CHECK(job.core.ended());
}

TEST_CASE("a repeated done is answered again, and a done worker may still pull") {
  Job job;
  job.say(job.chief, job.chief.plain(MessageType::kDone));
  CHECK(any_holds(job.say(job.worker, job.worker.plain(MessageType::kDone)), "b: done_ack"));
  CHECK(job.say(job.worker, job.worker.plain(MessageType::kDone)) == Lines{"b: done_ack"});
  CHECK(job.pull(job.worker) == parameters("b", "0 0", "0", 0));
}

TEST_CASE("a worker that is done is told from time to time that it waits for the chief") {
  Job job;
  job.say(job.worker, job.worker.plain(MessageType::kDone));
  const Lines notice = {"b: notice: waiting for worker:0, the chief, to save the model"};
  CHECK(job.tick(kFirstNoticeMs - 1).empty());
  CHECK(job.tick(kFirstNoticeMs) == notice);
  CHECK(job.tick(kFirstNoticeMs + kNoticeEveryMs - 1).empty());
  CHECK(job.tick(kFirstNoticeMs + kNoticeEveryMs) == notice);
}

TEST_CASE("a worker that is done ends without the chief if that is lost, leaves, or is not there") {
  Job job;
  SECTION("lost") {
    job.say(job.worker, job.worker.plain(MessageType::kDone));
  }
  SECTION("leaves") {
    job.say(job.worker, job.worker.plain(MessageType::kDone));
    CHECK(job.say(job.chief, job.chief.plain(MessageType::kLeave)).empty());
  }
  SECTION("not there") {
    job.say(job.chief, job.chief.plain(MessageType::kLeave));
    CHECK(job.say(job.worker, job.worker.plain(MessageType::kDone)).empty());
  }
  // First it has the time to become the chief, and to save the model.
  CHECK_FALSE(any_holds(job.tick(kLeaseMs + kSuccessionMs - 1), "done_ack"));
  CHECK(job.tick(kLeaseMs + kSuccessionMs) == Lines{"b: done_ack"});
}

namespace {

// Whether the answers say that the run lacks a chief.
bool lacks_chief(Job& job, Peer& peer) {
  job.say(peer, peer.plain(MessageType::kPing));
  return (job.last_sent.back().message.header.flags & kLacksChief) != 0;
}
std::uint32_t chief_of(Job& job) {
  return decode<WelcomeRecord>(job.last_sent.back().message.payload.bytes())->chief;
}

}  // namespace

TEST_CASE("when the chief has been silent for a lease, the workers learn of it, and the first that offers leads") {
  Job job;
  CHECK_FALSE(lacks_chief(job, job.worker));
  job.tick(kLeaseMs - 1);
  CHECK_FALSE(lacks_chief(job, job.worker));
  job.tick(kLeaseMs);
  CHECK(lacks_chief(job, job.worker));
  job.worker.chief = true;
  job.greet(job.worker);
  CHECK(chief_of(job) == 1);
  CHECK_FALSE(lacks_chief(job, job.worker));
  CHECK(any_holds(job.actions.log_lines, "worker:1 is the chief from now on"));
  CHECK(job.say(job.worker, job.worker.take()).size() == 3);
}

TEST_CASE("an old chief that is back learns from a new welcome that it is a worker like the others") {
  Job job;
  job.tick(kLeaseMs);
  job.worker.chief = true;
  job.greet(job.worker);
  CHECK(job.say(job.chief, job.chief.take()) == Lines{"a: stale"});
  job.greet(job.chief);
  CHECK(chief_of(job) == 1);
  CHECK(holds(job.say(job.chief, job.chief.take()).at(0), "a: refuse 2: only the chief may"));
  CHECK(job.push(job.chief, {1, 1, 1}).size() == 2);
}

TEST_CASE("a chief that was only away, and whom nobody has replaced, is still the chief") {
  Job job;
  job.tick(kLeaseMs);
  job.say(job.chief, job.chief.plain(MessageType::kPing));
  job.tick(kLeaseMs + 1);
  CHECK_FALSE(lacks_chief(job, job.worker));
  job.worker.chief = true;
  job.greet(job.worker);
  CHECK(chief_of(job) == 0);
  CHECK(job.say(job.chief, job.chief.take()).size() == 3);
}

TEST_CASE("a chief that gives the role back can be replaced at once") {
  Job job;
  job.chief.chief = false;
  job.greet(job.chief);
  CHECK(chief_of(job) == kNoWorker);
  job.tick(job.now);
  CHECK(lacks_chief(job, job.worker));
}

TEST_CASE("a new process of the chief's task is the chief, if no other worker is") {
  Job job;
  job.say(job.chief, job.chief.plain(MessageType::kLeave));
  job.tick(kLeaseMs);
  CHECK(lacks_chief(job, job.worker));
  Peer next = successor_of(job.chief);
  job.greet(next);
  CHECK(chief_of(job) == 0);
  CHECK_FALSE(lacks_chief(job, job.worker));
}

TEST_CASE("a run whose chief is done lacks none") {
  Job job;
  job.say(job.chief, job.chief.plain(MessageType::kDone));
  job.tick(kLeaseMs);
  CHECK_FALSE(lacks_chief(job, job.worker));
}

TEST_CASE("a created model knows who was done, unless that worker is there") {
  Job job;
  CreateRecord record = small_model();
  record.progress.done = {0, 1, 77};
  CHECK(job.create(job.chief, {0, 0, 0}, record, kRun + 1) ==
        Lines{"a: welcome ready, step 0", "b: welcome ready, step 0"});
  job.say(job.worker, job.worker.plain(MessageType::kLeave));
  CHECK(job.create(job.chief, {0, 0, 0}, record, kRun + 2) == Lines{"a: welcome ready, step 0 done 1"});
  job.worker.lease = 0;
  Peer late = successor_of(job.worker);
  CHECK(job.greet(late) == Lines{"b': welcome ready, step 0"});  // it takes part again
}

TEST_CASE("a worker that is only known to have been done has time to come again before the run ends") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  CreateRecord record = small_model();
  record.progress.done = {1};
  ps.create(chief, {0, 0, 0}, record);
  ps.tick(kLateWorkersMs);
  ps.say(chief, chief.plain(MessageType::kDone));
  CHECK_FALSE(ps.core.ended());
  SECTION("it does not come") {
    ps.tick(2 * kLateWorkersMs - 1);
    CHECK_FALSE(ps.core.ended());
    ps.tick(2 * kLateWorkersMs);
    CHECK(ps.core.ended());
  }
  SECTION("it comes, and takes part") {
    Peer worker = worker_peer();
    CHECK(ps.greet(worker) == Lines{"b: welcome ready, step 0 done 0"});
    ps.tick(2 * kLateWorkersMs);
    CHECK_FALSE(ps.core.ended());
    ps.say(worker, worker.plain(MessageType::kDone));
    CHECK(ps.core.ended());
  }
}

TEST_CASE("a worker whose computation is stuck counts as lost although it answers, until it goes on") {
  Job job;
  Message stuck = job.worker.plain(MessageType::kPing);
  stuck.header.flags |= kIsStuck;
  stuck.header.step = 512;
  stuck.header.samples = 60;
  CHECK(job.say(job.worker, Message(stuck.header, {})) == Lines{"b: pong"});
  CHECK(any_holds(job.actions.log_lines,
                  "worker:1 answers, but its computation has made no progress for 60 s, last step 512: lost"));
  CHECK(job.core.members().num_live() == 1);
  job.say(job.worker, Message(stuck.header, {}));
  CHECK(job.core.members().num_live() == 1);
  job.say(job.worker, job.worker.plain(MessageType::kPing));
  CHECK(any_holds(job.actions.log_lines, "worker:1 is back"));
  CHECK(job.core.members().num_live() == 2);
}

TEST_CASE("a new process takes the task of one whose computation is stuck") {
  Job job;
  Message stuck = job.worker.plain(MessageType::kPing);
  stuck.header.flags |= kIsStuck;
  Peer next = successor_of(job.worker);
  SECTION("it comes later") {
    job.say(job.worker, std::move(stuck));
    CHECK(job.greet(next) == Lines{"b': welcome ready, step 0"});
  }
  SECTION("it was there before") {
    CHECK(job.greet(next) == Lines{"b: probe"});
    job.say(job.worker, std::move(stuck));
    CHECK(job.tick(job.now) == Lines{"b': welcome ready, step 0"});
  }
}

TEST_CASE("a worker that leaves without being done keeps the run going") {
  Job job;
  job.say(job.chief, job.chief.plain(MessageType::kDone));
  job.say(job.worker, job.worker.plain(MessageType::kLeave));
  CHECK_FALSE(job.core.ended());
  CHECK(job.core.members().num_live() == 0);
  CHECK(job.core.members().missing() == std::vector<std::uint32_t>{1});
}

TEST_CASE("a worker that arrives after the end is told so") {
  Job job;
  job.say(job.chief, job.chief.plain(MessageType::kDone));
  job.say(job.worker, job.worker.plain(MessageType::kDone));
  Peer late = successor_of(job.worker);
  CHECK(job.greet(late) == Lines{"b': welcome ended, step 0 done 0 1"});
}

}  // namespace distmnist::trace
