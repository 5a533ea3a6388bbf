// SimulatedWorker: a process of a worker task in a SimulatedJob: what RemoteClient and the training loop do, one event
// at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/ps/exchange.h"
#include "lib/ps/newest_marks.h"
#include "tests/support/simulated_job.h"

namespace distmnist::trace {

class SimulatedWorker {
 public:
  SimulatedWorker(SimulatedJob& job, std::uint32_t index, std::uint64_t incarnation);

  void tick();
  void die();
  void leave();  // dies, but says so; what it has sent arrives yet
  bool finished() const { return phase_ == Phase::kFinished; }

 private:
  enum class Phase {
    kOpening,
    kCreating,
    kJoining,     // asks ps 0 for its turn
    kComputing,   // has the parameters of ps 0
    kPushing,     // where each ps answers by itself
    kStaging,     // until the push is whole on the others
    kCommitting,  // asks ps 0 what becomes of it, and for its turn
    kAdvancing,   // gets the parameters of the others
    kSnapshotVector,
    kSnapshotTake,
    kDone,
    kFinished
  };

  // The line to one ps.
  struct Link : ExchangeActions {
    Link(SimulatedWorker& worker, std::uint32_t ps);
    void send(const Header& header, std::span<const std::byte> payload, Lifetime) override {
      line.send({header, frame_of(payload)});
    }
    void reconnect() override { line.give_up(); }
    void report(const std::string&) override {}
    void notice(const std::string&) override {}
    void values(std::size_t, Range, std::span<const float> floats) override {
      received.insert(received.end(), floats.begin(), floats.end());
    }
    // The newest value that came in. The last values of an answer are all of one commit.
    float take_value();

    SimulatedWorker& worker;
    SimulatedNetwork::Line line;
    Exchange exchange;
    std::vector<float> received;
  };

  void advance();
  void enter(Phase phase);
  void on_open();
  void create();
  void join();
  void on_turn();
  void compute();
  void push();
  void commit();
  void count_push(bool accepted);
  void check_values();
  void begin_snapshot();
  void take_snapshot();
  void check_snapshot();
  // Begins a request of one message at the ps tasks from `first` to before `last`.
  void ask(Phase phase, MessageType answer, const RequestPart& part, std::size_t first, std::size_t last);
  template <class Predicate>
  bool all(Predicate predicate, std::size_t first = 0) const {
    return std::all_of(links_.begin() + static_cast<std::ptrdiff_t>(first), links_.end(),
                       [&](const auto& link) { return predicate(link->exchange); });
  }
  bool ordered() const { return job_.plan.strategy.ordered(); }
  bool over() const;
  Exchange& lead() { return links_.front()->exchange; }

  SimulatedJob& job_;
  std::uint32_t index_;
  std::uint64_t incarnation_;
  Phase phase_ = Phase::kOpening;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<float> gradient_;
  std::vector<Frame> records_;
  std::uint64_t sequence_ = 0, run_ = 0;
  std::int64_t step_ = 0;      // of its parameters
  std::int64_t position_ = 0;  // of its next batch, in samples
  bool pushed_ = false;        // it waits for what becomes of a push
  TimeMs ready_ms_ = 0;        // until then it computes
};

inline ExchangeConfig exchange_config(const Plan& plan, std::uint32_t ps, std::uint32_t worker,
                                      std::uint64_t incarnation) {
  ExchangeConfig config;
  config.ps_name = "ps:" + std::to_string(ps);
  config.worker = worker;
  config.incarnation = incarnation;
  config.hello = {"", worker == 0, plan.num_workers, plan.num_ps, ps, kJob, plan.num_ps * kShardFloats};
  const std::int64_t begin = ps * kShardFloats;
  config.pieces = {{begin, kShardFloats - 1}, {begin + kShardFloats - 1, 1}};
  config.recovery_wait_ms = kForeverMs;
  return config;
}

inline SimulatedWorker::Link::Link(SimulatedWorker& owner, std::uint32_t ps)
    : worker(owner),
      line(
          owner.job_.network,
          [this, ps](const Route& route, Received&& received) {
            worker.job_.servers[ps]->core.on_message(Sender{route}, std::move(received), worker.job_.clock.now());
          },
          [this](Received&& received) {
            exchange.on_message(std::move(received), worker.job_.clock.now());
            worker.advance();
          }),
      exchange(exchange_config(owner.job_.plan, ps, owner.index_, owner.incarnation_), *this) {}

inline float SimulatedWorker::Link::take_value() {
  const std::vector<float> answer = std::exchange(received, {});
  REQUIRE(answer.size() >= static_cast<std::size_t>(kShardFloats));
  for (std::size_t i = answer.size() - kShardFloats; i < answer.size(); ++i) REQUIRE(answer[i] == answer.back());
  return answer.back();
}

inline SimulatedWorker::SimulatedWorker(SimulatedJob& job, std::uint32_t index, std::uint64_t incarnation)
    : job_(job), index_(index), incarnation_(incarnation) {
  for (std::uint32_t k = 0; k < job.plan.num_ps; ++k) links_.push_back(std::make_unique<Link>(*this, k));
  gradient_.assign(kShardFloats, static_cast<float>(std::pow(kBase, index)));
  enter(Phase::kOpening);
}

inline void SimulatedWorker::enter(Phase phase) {
  phase_ = phase;
  const TimeMs now = job_.clock.now();
  if (phase == Phase::kComputing) ready_ms_ = now + static_cast<TimeMs>(job_.random.below(300));
  if (phase != Phase::kOpening) return;
  ++sequence_;
  pushed_ = false;
  for (auto& link : links_) link->exchange.open(sequence_, now);
}

inline void SimulatedWorker::die() {
  for (auto& link : links_) link->line.die();
}

inline void SimulatedWorker::leave() {
  for (auto& link : links_) {
    link->exchange.leave();
    link->line.give_up();
  }
}

inline void SimulatedWorker::tick() {
  const TimeMs now = job_.clock.now();
  for (auto& link : links_) {
    if (link->exchange.wants_connection()) {
      link->line.connect();
      link->exchange.on_connected(now);
    }
    link->exchange.on_tick(now);
    if (const auto& failure = link->exchange.failure()) FAIL("worker:" << index_ << " fails: " << failure->reason);
  }
  advance();
}

inline void SimulatedWorker::advance() {
  if (phase_ == Phase::kFinished) return;
  if (!all([](const Exchange& exchange) { return !exchange.stale(); })) return enter(Phase::kOpening);
  const bool opening = phase_ == Phase::kOpening;
  const auto answered = [&](const Exchange& exchange) { return opening ? exchange.opened() : exchange.answered(); };
  if (!all(answered, phase_ == Phase::kStaging ? 1 : 0)) return;
  switch (phase_) {
    case Phase::kOpening:
      return on_open();
    case Phase::kCreating:
      return join();
    case Phase::kJoining:
    case Phase::kCommitting:
      return on_turn();
    case Phase::kComputing:
      return compute();
    case Phase::kStaging:
      return commit();
    case Phase::kPushing:
      return count_push(true);
    case Phase::kAdvancing:
      if (pushed_) return count_push(lead().token().accepted);
      check_values();
      position_ = lead().token().consumed_samples;
      return enter(Phase::kComputing);
    case Phase::kSnapshotVector:
      return take_snapshot();
    case Phase::kSnapshotTake:
      return check_snapshot();
    case Phase::kDone:
      return enter(Phase::kFinished);
    case Phase::kFinished:
      return;
  }
}

inline void SimulatedWorker::ask(Phase phase, MessageType answer, const RequestPart& part, std::size_t first,
                                 std::size_t last) {
  phase_ = phase;
  ++sequence_;
  for (std::size_t k = first; k < last; ++k) {
    links_[k]->received.clear();
    links_[k]->exchange.begin({answer, sequence_, run_}, job_.clock.now());
    links_[k]->exchange.add(part);
  }
}

// ---- The model ----

inline void SimulatedWorker::on_open() {
  const std::uint64_t first_run = lead().run();
  const bool has_model =
      all([&](const Exchange& exchange) { return exchange.run() == first_run && exchange.run() != 0; });
  if (has_model) {
    run_ = first_run;
    return join();
  }
  if (index_ == 0) return create();
  enter(Phase::kOpening);  // The chief is replacing a model that was not whole.
}

inline void SimulatedWorker::create() {
  phase_ = Phase::kCreating;
  run_ = mix64(incarnation_) + ++sequence_;
  const TimeMs now = job_.clock.now();
  static const std::vector<float> kZeros(kShardFloats);
  records_.clear();
  for (auto& link : links_) {
    Exchange& exchange = link->exchange;
    CreateRecord record;
    record.optimizer = {OptimizerKind::kSgd, 1.0f};
    record.strategy = job_.plan.strategy;
    for (std::size_t chunk = 0; chunk < exchange.chunks().size(); ++chunk) {
      record.pieces.push_back({fmt::format("v{}", chunk), exchange.chunks().range(chunk)});
    }
    records_.push_back(encode(record));
    exchange.begin({MessageType::kWelcome, sequence_, run_}, now);
    exchange.add({MessageType::kCreate, WireDtype::kRecord, 0, {}, records_.back().bytes()});
    for (const NamedRange& piece : record.pieces) {
      const auto zeros = std::span(kZeros).first(static_cast<std::size_t>(piece.range.size));
      exchange.add({MessageType::kLoad, WireDtype::kF32, 0, piece.range, std::as_bytes(zeros)});
    }
    exchange.add({MessageType::kCreateEnd, WireDtype::kNone, 0, {}, {}});
  }
}

// ---- Turns ----

inline void SimulatedWorker::join() {
  ask(Phase::kJoining, MessageType::kToken, {MessageType::kJoin, WireDtype::kNone, 0, {}, {}}, 0, 1);
}

// ps 0 lets it go on; now to the others, who hear from the workers what ps 0 has decided.
inline void SimulatedWorker::on_turn() {
  step_ = lead().step();
  records_.clear();
  records_.push_back(encode(UpdatesRecord{lead().token().updates}));
  const RequestPart advance{MessageType::kAdvance, WireDtype::kRecord, 0, {}, records_.back().bytes()};
  const RequestPart pull{MessageType::kPull, WireDtype::kNone, 0, {}, {}};
  ask(Phase::kAdvancing, MessageType::kParameters, ordered() ? advance : pull, 1, links_.size());
  if (links_.size() == 1) this->advance();
}

// The parameters that are there. Where ps 0 decides, the others are at its update, or further.
inline void SimulatedWorker::check_values() {
  const bool lead_alone = links_.front()->received.empty();
  if (lead_alone) return;
  const float value = links_.front()->take_value();
  for (std::size_t k = 1; k < links_.size(); ++k) {
    const float other = links_[k]->take_value();
    const std::int64_t commit = links_[k]->exchange.commit();
    if (!ordered()) continue;
    REQUIRE(commit >= lead().commit());
    if (commit == lead().commit()) REQUIRE(other == value);
  }
}

inline bool SimulatedWorker::over() const {
  if (job_.plan.strategy.train_steps > 0) return step_ >= job_.plan.strategy.train_steps;
  return job_.accepted[index_] >= kPushes;
}

inline void SimulatedWorker::compute() {
  if (job_.clock.now() < ready_ms_) return;
  if (!over()) return push();
  ask(Phase::kDone, MessageType::kDoneAck, {MessageType::kDone, WireDtype::kNone, 0, {}, {}}, 0, links_.size());
}

inline void SimulatedWorker::push() {
  const TimeMs now = job_.clock.now();
  phase_ = ordered() ? Phase::kStaging : Phase::kPushing;
  pushed_ = true;
  ++sequence_;
  ++job_.begun[index_];
  for (std::size_t k = 0; k < links_.size(); ++k) {
    Exchange& exchange = links_[k]->exchange;
    links_[k]->received.clear();
    const MessageType answer = !ordered() ? MessageType::kParameters
                               : k == 0   ? MessageType::kToken
                                          : MessageType::kStaged;
    exchange.begin({answer, sequence_, run_, step_, kBatchSamples}, now);
    for (std::size_t chunk = exchange.chunks().size(); chunk-- > 0;) {
      const Range range = exchange.chunks().range(chunk);
      const auto gradient = std::span(gradient_).first(static_cast<std::size_t>(range.size));
      exchange.add({MessageType::kPush, WireDtype::kF32, 0, range, std::as_bytes(gradient)});
    }
    exchange.end(now);
  }
  advance();
}

inline void SimulatedWorker::commit() {
  phase_ = Phase::kCommitting;
  RequestPart commit{MessageType::kCommit, WireDtype::kNone, 0, {}, {}};
  commit.commit = lead().commit();
  for (std::size_t k = 1; k < links_.size(); ++k) {
    commit.commit = k == 1 ? links_[k]->exchange.commit() : std::min(commit.commit, links_[k]->exchange.commit());
  }
  lead().add(commit);
  lead().end(job_.clock.now());
}

inline void SimulatedWorker::count_push(bool accepted) {
  pushed_ = false;
  step_ = lead().step();
  ++(accepted ? job_.accepted : job_.dropped)[index_];
  const int answered = job_.accepted[index_] + job_.dropped[index_];
  if (ordered()) {
    // Every batch moves the position in the data on, whether it counts or not.
    REQUIRE(lead().token().consumed_samples == position_ + kBatchSamples);
    REQUIRE(lead().token().consumed_samples >= answered * kBatchSamples);
    position_ = lead().token().consumed_samples;
  }
  // With several batches to a step a push may be accepted and not be in the parameters yet.
  const bool applied = !job_.plan.strategy.sync || job_.plan.per_update() <= job_.plan.num_workers;
  for (auto& link : links_) {
    if (!job_.plan.countable()) break;
    const int count = counts_of(link->received.back(), job_.plan).at(index_);
    if (applied) REQUIRE(count >= job_.accepted[index_]);
    REQUIRE(count <= job_.begun[index_] - job_.dropped[index_]);
  }
  check_values();
  const bool snapshot_due = index_ == 0 && accepted && job_.accepted[index_] % job_.plan.snapshot_every == 0;
  if (snapshot_due) return begin_snapshot();
  enter(Phase::kComputing);
}

// ---- Snapshots ----

inline void SimulatedWorker::begin_snapshot() {
  ++job_.snapshots;
  ask(Phase::kSnapshotVector, MessageType::kSnapshotVector, {MessageType::kSnapshotBegin, WireDtype::kNone, 0, {}, {}},
      0, ordered() ? 1 : links_.size());
}

inline void SimulatedWorker::take_snapshot() {
  SnapshotRecord target;
  if (ordered()) {
    target.updates = lead().snapshot().updates;
  } else {
    std::vector<SnapshotRecord> vectors;
    for (auto& link : links_) vectors.push_back(link->exchange.snapshot());
    target.marks = newest_marks(vectors).marks;
  }
  records_.clear();
  records_.push_back(encode(target));
  ask(Phase::kSnapshotTake, MessageType::kSnapshotEnd,
      {MessageType::kSnapshotTake, WireDtype::kRecord, 0, {}, records_.back().bytes()}, 0, links_.size());
}

// A shard's values are those of the batches it says, and shards that have made the same updates are equal.
inline void SimulatedWorker::check_snapshot() {
  std::set<float> contents;
  std::set<PushMarks> marks;
  std::set<std::int64_t> commits;
  for (auto& link : links_) {
    const SnapshotRecord& record = link->exchange.snapshot();
    const float value = link->take_value();
    contents.insert(value);
    marks.insert(record.marks);
    commits.insert(link->exchange.commit());
    if (!job_.plan.countable()) continue;
    for (const auto& [worker, count] : counts_of(value, job_.plan)) {
      const auto at = record.consumed_samples.find(worker);
      const int batches = at == record.consumed_samples.end() ? 0 : static_cast<int>(at->second / kBatchSamples);
      if (!ordered()) REQUIRE(batches == count);
      if (!ordered() || link != links_.front()) continue;
      REQUIRE(batches >= count);  // ps 0 counts what was dropped, too.
      REQUIRE(batches <= count + job_.begun[worker] - job_.accepted[worker]);
    }
  }
  const bool whole = ordered() ? commits.size() == 1 : marks.size() == 1;
  if (whole) {
    if (ordered() || !job_.plan.deaths) REQUIRE(contents.size() == 1);
    ++job_.whole_snapshots;
  }
  enter(Phase::kComputing);
}

}  // namespace distmnist::trace
