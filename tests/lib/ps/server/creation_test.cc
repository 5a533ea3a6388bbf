// How a container gets its model. container_test.cc tests what happens after that.
#include <sys/resource.h>

#include <limits>

#include "lib/ps/server/creation.h"
#include "tests/support/catch.h"
#include "tests/support/container_job.h"

namespace distmnist::trace {
namespace {

// While it exists, this process can use at most `extra_bytes` of additional memory.
class MemoryLimit {
 public:
  explicit MemoryLimit(rlim_t extra_bytes) {
    getrlimit(RLIMIT_AS, &old_);
    const rlimit limit{extra_bytes, old_.rlim_max};
    works_ = setrlimit(RLIMIT_AS, &limit) == 0;
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &old_); }
  bool works() const { return works_; }

 private:
  rlimit old_{};
  bool works_ = false;
};

}  // namespace

TEST_CASE("workers that arrive before the model are notified when it is ready") {
  PsScript ps;
  Peer chief = chief_peer(), worker = worker_peer();
  CHECK(ps.greet(worker) == Lines{"b: welcome awaiting_model, step 0"});
  CHECK(ps.greet(chief) == Lines{"a: welcome awaiting_model, step 0"});
  CHECK(ps.create(chief) == Lines{"a: welcome ready, step 0", "b: welcome ready, step 0"});
  CHECK(worker.run == kRun);
  CHECK(worker.ps_epoch == kEpoch);
}

TEST_CASE("a worker that arrives later is welcomed to the model at once") {
  Job job;
  job.worker.samples = 50;
  job.push(job.worker, {1, 1, 1});
  Peer late = successor_of(job.worker);
  job.say(job.worker, job.worker.plain(MessageType::kLeave));
  CHECK(job.greet(late) == Lines{"b': welcome ready, step 1"});
  const Lines turn = job.join(late);
  REQUIRE(turn.size() == 3);
  CHECK(turn[0] == "b': token step 1, sample 50");  // its data continues after the batch that was applied
}

TEST_CASE("a worker that was silent while the model became ready is still notified") {
  PsScript ps;
  Peer chief = chief_peer(), worker = worker_peer();
  ps.greet(worker);
  ps.tick(kLeaseMs);
  ps.greet(chief);
  CHECK(ps.create(chief) == Lines{"a: welcome ready, step 0", "b: welcome ready, step 0"});
}

TEST_CASE("the model starts with the chief's values, slots, step and history") {
  PsScript ps;
  Peer chief = chief_peer(), worker = worker_peer();
  ps.greet(chief);
  ps.greet(worker);
  CreateRecord record = small_model();
  record.optimizer = OptimizerSpec{};  // Adam: two slots
  record.global_step = 40;
  record.progress.consumed_samples = {{0, 750}, {1, 1250}};
  ps.begin_create(chief, record);
  for (std::uint8_t slot = 0; slot <= 2; ++slot) {
    const float first = 10.0f * slot;
    ps.say(chief, chief.load(0, {first, first + 1}, slot));
    ps.say(chief, chief.load(2, {first + 2}, slot));
  }
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)) ==
        Lines{"a: welcome ready, step 40", "b: welcome ready, step 40"});
  ps.say(chief, chief.plain(MessageType::kSnapshotBegin));
  CHECK(ps.say(chief, chief.take({})) ==
        Lines{"a: snapshot_data slot 0 [0,2) 0 1", "a: snapshot_data slot 0 [2,3) 2",
              "a: snapshot_data slot 1 [0,2) 10 11", "a: snapshot_data slot 1 [2,3) 12",
              "a: snapshot_data slot 2 [0,2) 20 21", "a: snapshot_data slot 2 [2,3) 22",
              "a: snapshot_end samples 0:750 1:1250"});
}

TEST_CASE("a creation with a missing part is not answered, and succeeds when it is sent again in full") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  ps.begin_create(chief);
  ps.say(chief, chief.load(0, {1, 2}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)).empty());
  CHECK(ps.pull(chief) == Lines{"a: stale"});
  CHECK(ps.create(chief, {1, 2, 3}) == Lines{"a: welcome ready, step 0"});
}

TEST_CASE("parts that do not belong to the model do not complete a creation") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  ps.begin_create(chief);
  ps.say(chief, chief.load(0, {1, 2}));
  ps.say(chief, chief.load(2, {3, 4}));  // longer than the piece
  ps.say(chief, chief.load(1, {3}));     // inside a different piece
  ps.say(chief, chief.load(2, {3}, 1));  // plain SGD has no slot
  Peer other_run = chief;
  other_run.run = kRun + 1;
  ps.say(other_run, other_run.load(2, {3}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)).empty());
  ps.say(chief, chief.load(2, {3}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)) == Lines{"a: welcome ready, step 0"});
  CHECK(ps.pull(chief) == parameters("a", "1 2", "3", 0));
}

TEST_CASE("a creation that is repeated after it was complete does not undo later updates") {
  Job job;
  job.push(job.worker, {1, 2, 3});
  CHECK(job.create(job.chief) == Lines{"a: welcome ready, step 1"});
  CHECK(job.pull(job.chief) == parameters("a", "-1 -2", "-3", 1));
  CHECK(job.push_again(job.worker, {1, 2, 3}) == parameters("b", "-1 -2", "-3", 1));  // still known as applied
}

TEST_CASE("a restarted chief finds the model and uses it") {
  Job job;
  job.push(job.worker, {1, 2, 3});
  job.tick(kLeaseMs);
  Peer restarted = successor_of(job.chief);
  CHECK(job.greet(restarted) == Lines{"a': welcome ready, step 1"});
  CHECK(restarted.run == kRun);
  CHECK(job.pull(restarted) == parameters("a'", "-1 -2", "-3", 1));
}

TEST_CASE("a push is answered in its own number type, also when it is repeated") {
  Job job;
  job.worker.wire_dtype = WireDtype::kBf16;
  const std::string first = "b: parameters (bf16) [0,2) -1 -2 step 1";
  CHECK(job.push(job.worker, {1, 2, 3}).at(0) == first);
  CHECK(job.push_again(job.worker, {1, 2, 3}).at(0) == first);
  CHECK(job.push(job.chief, {1, 1, 1}) == parameters("a", "-2 -3", "-4", 2));
}

TEST_CASE("values of a creation are float32") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  ps.begin_create(chief);
  ps.say(chief, chief.load(0, {1, 2}));
  ps.say(chief, chief.values(MessageType::kLoad, 2, {3}, 0, WireDtype::kBf16));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)).empty());  // a part is missing
  ps.say(chief, chief.load(2, {3}));
  CHECK(ps.say(chief, chief.plain(MessageType::kCreateEnd)) == Lines{"a: welcome ready, step 0"});
}

TEST_CASE("a new model replaces the old one, and workers that train on the old one are notified") {
  Job job;
  job.push(job.worker, {1, 2, 3});
  Peer before = job.worker;
  CHECK(job.create(job.chief, {5, 5, 5}, small_model(), kRun + 1) ==
        Lines{"a: welcome ready, step 0", "b: welcome ready, step 0"});
  CHECK(job.push(before, {1, 1, 1}) == Lines{"b: stale", "b: stale"});
  CHECK(job.pull(job.worker) == parameters("b", "5 5", "5", 0));
}

TEST_CASE("only the chief creates a model") {
  PsScript ps;
  Peer worker = worker_peer();
  ps.greet(worker);
  const Lines out = ps.say(worker, worker.record(MessageType::kCreate, encode(small_model())));
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "b: refuse 2: only the chief"));
}

TEST_CASE("an inconsistent creation is refused") {
  const auto refused = [](const CreateRecord& record, const std::string& words) {
    PsScript ps;
    Peer chief = chief_peer();
    chief.num_parameters = std::int64_t{1} << 62;
    ps.greet(chief);
    chief.run = kRun;
    return any_holds(ps.say(chief, chief.record(MessageType::kCreate, encode(record))), words);
  };
  const auto with_pieces = [](std::vector<NamedRange> pieces) {
    CreateRecord record = small_model();
    record.pieces = std::move(pieces);
    return record;
  };
  CHECK(refused(with_pieces({{"x", {0, 2}}, {"y", {1, 2}}}), "refuse 2: pieces out of order"));
  CHECK(refused(with_pieces({{"x", {2, 2}}, {"y", {0, 2}}}), "refuse 2: pieces out of order"));
  CHECK(refused(with_pieces({{"x", {-1, 2}}}), "refuse 2: pieces out of order"));
  CHECK(refused(with_pieces({{"x", {0, 0}}}), "refuse 2: pieces out of order"));
  CHECK(refused(with_pieces({{"x", {0, -5}}}), "refuse 2: pieces out of order"));
  CHECK(refused(with_pieces({{"x", {std::int64_t{1} << 62, 1}}}), "refuse 2: a piece beyond the"));
  CHECK(refused(with_pieces({{"x", {0, std::int64_t{1} << 62}}}), "refuse 2: more parameters"));
  CHECK(refused(with_pieces({{"x", {0, kMaxShardFloats}}, {"y", {kMaxShardFloats, 1}}}), "refuse 2: more parameters"));
  CreateRecord adam = with_pieces({{"x", {0, kMaxShardFloats / 2}}});
  adam.optimizer.kind = OptimizerKind::kAdam;  // three floats per parameter
  CHECK(refused(adam, "refuse 2: more parameters"));
  CreateRecord record = small_model();
  record.global_step = -1;
  CHECK(refused(record, "refuse 2: a negative global_step"));
  record = small_model();
  record.optimizer.kind = static_cast<OptimizerKind>(77);
  CHECK(refused(record, "refuse 2: an unknown optimizer"));
  record = small_model();
  record.optimizer.learning_rate.schedule = static_cast<LearningRateSchedule>(77);
  CHECK(refused(record, "refuse 2: an unknown learning rate schedule"));
  record = small_model();
  record.optimizer.learning_rate.schedule = LearningRateSchedule::kCosine;
  CHECK(refused(record, "refuse 2: a decay over no steps"));
  record = small_model();
  record.optimizer.learning_rate = std::numeric_limits<float>::quiet_NaN();
  CHECK(refused(record, "refuse 2: a learning rate that is not a number"));
  record = small_model();
  record.optimizer.momentum = std::numeric_limits<float>::infinity();
  CHECK(refused(record, "refuse 2: an optimizer constant that is not a number"));
  for (const std::uint32_t replicas : {0u, kMaxReplicas + 1}) {
    record = small_model();
    record.strategy.sync = true;
    record.strategy.replicas_to_aggregate = replicas;
    CHECK(
        refused(record, fmt::format("refuse 2: {} replicas to aggregate, but only 1 to 1024 are possible", replicas)));
  }
  for (const auto bound : {&Strategy::drop_above, &Strategy::warmup_steps, &Strategy::train_steps}) {
    record = small_model();
    record.strategy.*bound = -1;
    CHECK(refused(record, "refuse 2: a negative bound in its strategy"));
  }
  record = small_model();
  record.strategy.max_staleness = -2;
  CHECK(refused(record, "refuse 2: a negative bound in its strategy"));
}

TEST_CASE("a creation with impossible sizes is refused") {
  const auto answer = [](const CreateRecord& record, std::uint64_t run = kRun) {
    PsScript ps;
    Peer chief = chief_peer();
    ps.greet(chief);
    chief.run = run;
    const Lines out = ps.say(chief, chief.record(MessageType::kCreate, encode(record)));
    return out.empty() ? "" : out[0];
  };
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
  CHECK(answer(small_model()) == "");
  CHECK(answer(small_model(), 0) == "a: refuse 2: a model without a run number");
  CreateRecord record = small_model();
  record.global_step = kLargest;
  CHECK(answer(record) == "a: refuse 2: a global_step that is too large");
  for (const std::int64_t samples : {std::int64_t{-1}, kLargest}) {
    record = small_model();
    record.progress.consumed_samples = {{1, samples}};
    CHECK(answer(record) == fmt::format("a: refuse 2: an invalid number of samples, {}, for worker:1", samples));
  }
  record = small_model();
  record.pieces.back().range = {2, 2};
  CHECK(answer(record) == "a: refuse 2: a piece beyond the 3 parameters of the chief's model");
}

TEST_CASE("data positions of more workers than the run has are kept for later, up to a limit") {
  PsScript ps;
  Peer chief = chief_peer();
  ps.greet(chief);
  CreateRecord record = small_model();
  record.progress.consumed_samples = {{0, 50}, {7, 100}, {kMaxWorkers, 5}, {0xFFFFFFFF, 6}};
  ps.create(chief, {0, 0, 0}, record);
  CHECK(ps.say(chief, chief.take()).back() == "a: snapshot_end samples 0:50 7:100");
}

TEST_CASE("all workers of a run have a model of the same size") {
  PsScript ps;
  Peer chief = chief_peer(), early = worker_peer();
  early.num_parameters = 4;
  CHECK(ps.greet(early) == Lines{"b: welcome awaiting_model, step 0"});
  ps.greet(chief);
  const std::string words =
      "refuse 5: worker:1 does not fit this job: its model has 4 parameters but the chief's has 3; ";
  CHECK(holds(ps.create(chief).at(1), "b: " + words));
  Peer late = successor_of(early);
  late.num_parameters = 4;
  CHECK(holds(ps.greet(late).at(0), "b': " + words));
  late.num_parameters = 3;
  CHECK(ps.greet(late) == Lines{"b': welcome ready, step 0"});
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a creation uses no memory before its values arrive") {
  PsScript ps;
  Peer chief = chief_peer();
  chief.num_parameters = std::int64_t{1} << 29;
  ps.greet(chief);
  CreateRecord huge = small_model();
  huge.pieces = {{"x", {0, chief.num_parameters}}};  // 2 GiB, or 6 GiB with adam's slots
  huge.optimizer.kind = OptimizerKind::kAdam;
  const auto resident_kb = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = resident_kb();
  ps.begin_create(chief, huge);
  CHECK(ps.last_sent.empty());  // not refused
  CHECK(resident_kb() - before < 100 * 1024);
}

TEST_CASE("pieces at the end of the number range and invalid names are refused") {
  PsScript ps;
  Peer chief = chief_peer();
  chief.num_parameters = std::numeric_limits<std::int64_t>::max();
  ps.greet(chief);
  chief.run = kRun;
  CreateRecord far = small_model();
  far.pieces = {{"x", {chief.num_parameters - 10, 10}}};
  CHECK(holds(ps.say(chief, chief.record(MessageType::kCreate, encode(far))).at(0), "a: refuse 2: a model of 9223"));
  PsScript other;
  chief = chief_peer();
  other.greet(chief);
  chief.run = kRun;
  for (const char* name : {"", "a\nb", "\x1b[2J", "a b"}) {
    CreateRecord named = small_model();
    named.pieces[0].name = name;
    CHECK(holds(other.say(chief, chief.record(MessageType::kCreate, encode(named))).at(0), "a name is 1 to"));
  }
  CHECK(other.create(chief) == Lines{"a: welcome ready, step 0"});
}

TEST_CASE("a model that does not fit in this machine's memory is refused, and the ps keeps running") {
  PsScript ps;
  Peer chief = chief_peer();
  chief.num_parameters = kMaxShardFloats;
  ps.greet(chief);
  chief.run = kRun;
  CreateRecord huge = small_model();
  huge.pieces = {{"x", {0, kMaxShardFloats}}};  // 16 GiB
  Lines out;
  {
    const MemoryLimit limit(rlim_t{4} << 30);
    if (!limit.works()) SKIP_CASE("the memory of this process cannot be limited");
    out = ps.say(chief, chief.record(MessageType::kCreate, encode(huge)));
  }
  REQUIRE(out.size() == 1);
  CHECK(holds(out[0], "a: refuse 7: "));
  CHECK(ps.create(chief) == Lines{"a: welcome ready, step 0"});
}
#endif

}  // namespace distmnist::trace
