// Whole jobs on a simulated network and clock, from many seeds: workers and ps tasks are the real cores, only sockets
// and time are not. Whatever the network does, a push is applied at most once, an answered one exactly once, at every
// ps, and the job comes to its end.
#include <cmath>
#include <set>

#include "lib/ps/exchange.h"
#include "lib/ps/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/network.h"

namespace distmnist::trace {
namespace {

constexpr TimeMs kTickMs = 100;
constexpr TimeMs kForeverMs = 10 * 60 * 60 * 1000;
constexpr int kPushes = 12;  // of each worker
constexpr std::uint32_t kBatchSamples = 5;
constexpr std::int64_t kBase = 100;  // worker w's gradients are kBase^w, so that a parameter tells who pushed how often
constexpr std::int64_t kShardFloats = 3;

using Counts = std::map<std::uint32_t, int>;  // pushes by worker

// The pushes in a parameter's value.
Counts counts_of(float value, std::uint32_t num_workers) {
  auto rest = static_cast<std::int64_t>(-value);
  Counts counts;
  for (std::uint32_t worker = 0; worker < num_workers; ++worker, rest /= kBase) {
    counts[worker] = static_cast<int>(rest % kBase);
  }
  return counts;
}

struct Plan {
  std::uint64_t seed = 0;
  std::uint32_t num_ps = 1, num_workers = 2;
  Faults faults;
  bool deaths = false;  // worker processes are killed and started again
};

class Simulation;

// A ps task.
class SimulatedPs : public PsActions {
 public:
  SimulatedPs(SimulatedNetwork& network, const Plan& plan, std::uint32_t index)
      : core({index, plan.num_ps, plan.num_workers, 500 + index}, {kForeverMs}, *this, 0),
        num_workers_(plan.num_workers),
        network_(network) {}

  void send(const Route& to, Message&& message) override {
    if (message.header.type == MessageType::kParameters && message.header.step >= newest_step) {
      for (const float value : message.payload.floats()) note(message.header.step, value);
    }
    network_.answer(to, std::move(message));
  }
  void log(LogLevel, const std::string&) override {}

  PsCore core;
  std::int64_t newest_step = -1;
  Counts applied;  // at newest_step

 private:
  // Every parameter of the shard has seen the same pushes, as many as the step says.
  void note(std::int64_t step, float value) {
    const Counts counts = counts_of(value, num_workers_);
    std::int64_t sum = 0;
    for (const auto& [worker, count] : counts) sum += count;
    REQUIRE(sum == step);
    if (step == newest_step) REQUIRE(counts == applied);
    newest_step = step;
    applied = counts;
  }

  std::uint32_t num_workers_;
  SimulatedNetwork& network_;
};

// A process of a worker task: what RemoteClient and the training loop do, one event at a time.
class SimulatedWorker {
 public:
  SimulatedWorker(Simulation& simulation, std::uint32_t index, std::uint64_t incarnation);

  void tick();
  void die();
  bool finished() const { return phase_ == Phase::kFinished; }
  std::uint32_t index() const { return index_; }

 private:
  enum class Phase { kOpening, kCreating, kPushing, kSnapshotVector, kSnapshotTake, kDone, kFinished };

  // The line to one ps.
  struct Link : ExchangeActions {
    Link(SimulatedWorker& worker, std::uint32_t ps);
    void send(const Header& header, std::span<const std::byte> payload) override {
      line.send({header, frame_of(payload)});
    }
    void reconnect() override { line.give_up(); }
    void report(const std::string&) override {}
    void notice(const std::string&) override {}
    void values(std::size_t, Range, std::span<const float> floats) override {
      received.insert(received.end(), floats.begin(), floats.end());
    }

    SimulatedWorker& worker;
    SimulatedNetwork::Line line;
    Exchange exchange;
    std::vector<float> received;
  };

  void advance();
  void on_open();
  void create();
  void push();
  void ask(MessageType answer, const RequestPart& part, Phase next);
  void count_push();
  void begin_snapshot();
  void take_snapshot();
  void check_snapshot();
  template <class Predicate>
  bool all(Predicate predicate) const {
    return std::ranges::all_of(links_, [&](const auto& link) { return predicate(link->exchange); });
  }
  void enter(Phase phase);

  Simulation& simulation_;
  std::uint32_t index_;
  std::uint64_t incarnation_;
  Phase phase_ = Phase::kOpening;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<float> gradient_;
  std::vector<Frame> records_;
  std::uint64_t sequence_ = 0, run_ = 0;
  TimeMs ready_ms_ = 0;  // until then it computes
  int snapshots_ = 0;
};

class Simulation {
 public:
  explicit Simulation(const Plan& plan) : plan(plan), network(clock, plan.seed, plan.faults), random(plan.seed, 2) {
    for (std::uint32_t k = 0; k < plan.num_ps; ++k) servers.push_back(std::make_unique<SimulatedPs>(network, plan, k));
    for (std::uint32_t w = 0; w < plan.num_workers; ++w) start_worker(w);
  }

  void run() {
    clock.at(0, [this] { tick(); });
    // Often while the model is being created, else somewhere in the run.
    const std::uint64_t first_death_ms = plan.seed % 4 == 0 ? 500 : 20'000;
    if (plan.deaths) clock.at(static_cast<TimeMs>(random.below(first_death_ms)), [this] { kill_someone(); });
    while (!over() && clock.step()) REQUIRE(clock.now() < kForeverMs);
  }
  bool over() const {
    return std::ranges::all_of(current, [](const auto& entry) { return entry.second->finished(); });
  }

  Plan plan;
  SimulatedClock clock;
  SimulatedNetwork network;
  Random random;
  std::vector<std::unique_ptr<SimulatedPs>> servers;
  Counts answered;
  Counts begun;  // pushes started, by all processes of a worker
  int whole_snapshots = 0;
  int deaths = 0;

 private:
  void start_worker(std::uint32_t index) {
    processes_.push_back(std::make_unique<SimulatedWorker>(*this, index, 10 + processes_.size()));
    current[index] = processes_.back().get();
  }
  void tick() {
    for (auto& ps : servers) ps->core.on_tick(clock.now());
    for (const auto& [index, worker] : current) worker->tick();
    clock.at(clock.now() + kTickMs, [this] { tick(); });
  }
  void kill_someone() {
    const auto index = static_cast<std::uint32_t>(random.below(plan.num_workers));
    if (!current[index]->finished()) {
      ++deaths;
      current[index]->die();
      start_worker(index);
    }
    const auto pause_ms =
        3 * kProbeMs + static_cast<TimeMs>(random.below(20'000));  // Two newcomers at once are a conflict.
    if (deaths < 3) clock.at(clock.now() + pause_ms, [this] { kill_someone(); });
  }

  // Dead processes stay here, for late messages of theirs are still on their way.
  std::vector<std::unique_ptr<SimulatedWorker>> processes_;

 public:
  std::map<std::uint32_t, SimulatedWorker*> current;
};

// ---- SimulatedWorker ----

ExchangeConfig exchange_config(const Plan& plan, std::uint32_t ps, std::uint32_t worker, std::uint64_t incarnation) {
  ExchangeConfig config;
  config.ps_name = "ps:" + std::to_string(ps);
  config.worker = worker;
  config.incarnation = incarnation;
  config.hello = {"", worker == 0, plan.num_workers, plan.num_ps, ps, kJob};
  const std::int64_t begin = ps * kShardFloats;
  config.pieces = {{begin, kShardFloats - 1}, {begin + kShardFloats - 1, 1}};
  config.recovery_wait_ms = kForeverMs;
  return config;
}

SimulatedWorker::Link::Link(SimulatedWorker& owner, std::uint32_t ps)
    : worker(owner),
      line(
          owner.simulation_.network,
          [this, ps](const Route& route, Received&& received) {
            worker.simulation_.servers[ps]->core.on_message(route, std::move(received), worker.simulation_.clock.now());
          },
          [this](Received&& received) {
            exchange.on_message(std::move(received), worker.simulation_.clock.now());
            worker.advance();
          }),
      exchange(exchange_config(owner.simulation_.plan, ps, owner.index_, owner.incarnation_), *this) {}

SimulatedWorker::SimulatedWorker(Simulation& simulation, std::uint32_t index, std::uint64_t incarnation)
    : simulation_(simulation), index_(index), incarnation_(incarnation) {
  for (std::uint32_t k = 0; k < simulation.plan.num_ps; ++k) links_.push_back(std::make_unique<Link>(*this, k));
  gradient_.assign(kShardFloats, static_cast<float>(std::pow(kBase, index)));
  enter(Phase::kOpening);
}

void SimulatedWorker::enter(Phase phase) {
  phase_ = phase;
  const TimeMs now = simulation_.clock.now();
  if (phase == Phase::kPushing) ready_ms_ = now + static_cast<TimeMs>(simulation_.random.below(300));
  if (phase != Phase::kOpening) return;
  ++sequence_;
  for (auto& link : links_) link->exchange.open(sequence_, now);
}

void SimulatedWorker::die() {
  for (auto& link : links_) link->line.die();
}

void SimulatedWorker::tick() {
  const TimeMs now = simulation_.clock.now();
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

void SimulatedWorker::advance() {
  if (phase_ == Phase::kFinished) return;
  if (!all([](const Exchange& exchange) { return !exchange.stale(); })) return enter(Phase::kOpening);
  if (!all([&](const Exchange& exchange) {
        return phase_ == Phase::kOpening ? exchange.opened() : exchange.answered();
      })) {
    return;
  }
  switch (phase_) {
    case Phase::kOpening:
      return on_open();
    case Phase::kCreating:
      return enter(Phase::kPushing);
    case Phase::kPushing:
      return count_push();
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

void SimulatedWorker::on_open() {
  const std::uint64_t first_run = links_.front()->exchange.run();
  const bool has_model =
      all([&](const Exchange& exchange) { return exchange.run() == first_run && exchange.run() != 0; });
  if (has_model) {
    run_ = first_run;
    return enter(Phase::kPushing);
  }
  if (index_ == 0) return create();
  enter(Phase::kOpening);  // The chief is replacing a model that was not whole.
}

void SimulatedWorker::create() {
  phase_ = Phase::kCreating;
  run_ = 100 * incarnation_ + ++sequence_;
  const TimeMs now = simulation_.clock.now();
  static const std::vector<float> kZeros(kShardFloats);
  records_.clear();
  for (auto& link : links_) {
    Exchange& exchange = link->exchange;
    CreateRecord record;
    record.optimizer = {OptimizerKind::kSgd, 1.0f};
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

void SimulatedWorker::push() {
  ++sequence_;
  ++simulation_.begun[index_];
  for (auto& link : links_) {
    Exchange& exchange = link->exchange;
    link->received.clear();
    exchange.begin({MessageType::kParameters, sequence_, run_, 0, kBatchSamples}, simulation_.clock.now());
    for (std::size_t chunk = exchange.chunks().size(); chunk-- > 0;) {
      const Range range = exchange.chunks().range(chunk);
      const auto gradient = std::span(gradient_).first(static_cast<std::size_t>(range.size));
      exchange.add({MessageType::kPush, WireDtype::kF32, 0, range, std::as_bytes(gradient)});
    }
    exchange.end(simulation_.clock.now());
  }
}

// Between pushes, or when one has been answered.
void SimulatedWorker::count_push() {
  const bool pushed = !links_.front()->received.empty();
  if (pushed) {
    for (auto& link : links_) {
      const std::vector<float> answer = std::exchange(link->received, {});
      // The last values of an answer are all of one commit, and hold every push that was answered before.
      const float newest = answer.back();
      for (std::size_t i = answer.size() - kShardFloats; i < answer.size(); ++i) REQUIRE(answer[i] == newest);
      const Counts counts = counts_of(newest, simulation_.plan.num_workers);
      REQUIRE(counts.at(index_) > simulation_.answered[index_]);
      REQUIRE(counts.at(index_) <= simulation_.begun[index_]);
    }
    ++simulation_.answered[index_];
    if (index_ == 0 && simulation_.answered[index_] % 4 == 0) return begin_snapshot();
    return enter(Phase::kPushing);
  }
  if (simulation_.clock.now() < ready_ms_) return;
  if (simulation_.answered[index_] < kPushes) return push();
  ask(MessageType::kDoneAck, {MessageType::kDone, WireDtype::kNone, 0, {}, {}}, Phase::kDone);
}

void SimulatedWorker::ask(MessageType answer, const RequestPart& part, Phase next) {
  phase_ = next;
  ++sequence_;
  for (auto& link : links_) {
    link->received.clear();
    link->exchange.begin({answer, sequence_, run_}, simulation_.clock.now());
    link->exchange.add(part);
  }
}

void SimulatedWorker::begin_snapshot() {
  ask(MessageType::kSnapshotVector, {MessageType::kSnapshotBegin, WireDtype::kNone, 0, {}, {}}, Phase::kSnapshotVector);
}

void SimulatedWorker::take_snapshot() {
  SnapshotRecord target;
  for (auto& link : links_) {
    for (const auto& [worker, mark] : link->exchange.snapshot().marks) {
      target.marks[worker] = std::max(target.marks[worker], mark);
    }
  }
  records_.clear();
  records_.push_back(encode(target));
  ask(MessageType::kSnapshotEnd, {MessageType::kSnapshotTake, WireDtype::kRecord, 0, {}, records_.back().bytes()},
      Phase::kSnapshotTake);
}

// A shard's values are those of the batches it says, and shards with the same marks have seen the same pushes.
void SimulatedWorker::check_snapshot() {
  std::set<Counts> contents;
  std::set<PushMarks> marks;
  for (auto& link : links_) {
    const SnapshotRecord& record = link->exchange.snapshot();
    REQUIRE(link->received.size() >= static_cast<std::size_t>(kShardFloats));
    const float newest = link->received.back();
    for (std::size_t i = link->received.size() - kShardFloats; i < link->received.size(); ++i) {
      REQUIRE(link->received[i] == newest);
    }
    const Counts counts = counts_of(newest, simulation_.plan.num_workers);
    for (const auto& [worker, samples] : record.consumed_samples) REQUIRE(counts.at(worker) * kBatchSamples == samples);
    contents.insert(counts);
    marks.insert(record.marks);
    link->received.clear();
  }
  if (marks.size() == 1) {
    if (!simulation_.plan.deaths) REQUIRE(contents.size() == 1);
    ++simulation_.whole_snapshots;
  }
  enter(Phase::kPushing);
}

// Runs a job to its end and checks what must hold then.
int run_and_check(const Plan& plan) {
  CAPTURE(plan.seed, plan.num_ps, plan.num_workers);
  Simulation simulation(plan);
  simulation.run();
  for (const auto& ps : simulation.servers) {
    REQUIRE(ps->core.end().has_value());
    CHECK(ps->core.end()->code == ExitCode::kOk);
    for (std::uint32_t worker = 0; worker < plan.num_workers; ++worker) {
      const int unanswered = simulation.begun[worker] - simulation.answered[worker];  // died with their process
      CHECK(simulation.answered[worker] == kPushes);
      CHECK(ps->applied.at(worker) >= kPushes);
      CHECK(ps->applied.at(worker) <= kPushes + unanswered);
      if (!plan.deaths) CHECK(unanswered == 0);
    }
  }
  return simulation.whole_snapshots;
}

}  // namespace

TEST_CASE("on a good network every push is applied once and every snapshot is whole") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Plan plan{seed, 1 + static_cast<std::uint32_t>(seed % 2), 3, {0, 0, 0, 50, 0}};
    CHECK(run_and_check(plan) == kPushes / 4);
  }
}

TEST_CASE("on a bad network every answered push is applied exactly once and every job comes to its end") {
  int whole_snapshots = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const auto num_ps = 1 + static_cast<std::uint32_t>(seed % 2),
               num_workers = 2 + static_cast<std::uint32_t>(seed / 2 % 2);
    whole_snapshots += run_and_check({seed, num_ps, num_workers, {}});
  }
  CHECK(whole_snapshots > 500);
}

TEST_CASE("on a network that loses every fifth message jobs still come to their end") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) run_and_check({seed, 2, 2, {0.1, 0.1, 0.01, 50, 20'000}});
}

TEST_CASE("processes that die and are started again leave no push applied twice") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    run_and_check({seed, 1 + static_cast<std::uint32_t>(seed % 2), 3, {}, true});
  }
}

}  // namespace distmnist::trace
