// Whole runs in which ps 0 decides, on a simulated network and clock, from many seeds: workers and ps tasks are the
// real cores. Whatever the network does and whoever dies, all ps tasks have the same gradients at the same step, a push
// that was accepted is in it once, a worker's position in its data never goes back, and the run comes to its last step.
#include <cmath>

#include "lib/ps/exchange.h"
#include "lib/ps/ps_core.h"
#include "tests/support/catch.h"
#include "tests/support/network.h"

namespace distmnist::trace {
namespace {

constexpr TimeMs kTickMs = 100;
constexpr TimeMs kForeverMs = 10 * 60 * 60 * 1000;
constexpr std::int64_t kTrainSteps = 10;
constexpr std::int64_t kBase = 64;  // worker w's gradients are kBase^w, so that a parameter tells who pushed how often
constexpr std::uint32_t kBatchSamples = 5;

using Counts = std::vector<std::int64_t>;  // pushes by worker

struct Plan {
  std::uint64_t seed = 0;
  std::uint32_t num_ps = 1, num_workers = 2;
  Strategy strategy;
  Faults faults;
  bool deaths = false;  // worker processes are killed and started again

  std::int64_t pushes_to_a_step() const { return strategy.sync ? strategy.replicas_to_aggregate : 1; }
};

// What must be true of all ps tasks together.
struct Truth {
  // The pushes in a parameter's value; the learning rate makes the mean a sum.
  void note(std::int64_t step, float value) {
    auto rest = static_cast<std::int64_t>(-value);
    Counts counts;
    std::int64_t sum = 0;
    for (std::uint32_t worker = 0; worker < plan.num_workers; ++worker, rest /= kBase) {
      counts.push_back(rest % kBase);
      sum += counts.back();
    }
    REQUIRE(sum == step * plan.pushes_to_a_step());
    const auto [known, is_new] = at_step.emplace(step, counts);
    REQUIRE(known->second == counts);
  }

  Plan plan;
  std::map<std::int64_t, Counts> at_step;
};

class SimulatedPs : public PsActions {
 public:
  SimulatedPs(SimulatedNetwork& network, Truth& truth, std::uint32_t index)
      : core({index, truth.plan.num_ps, truth.plan.num_workers, 500 + index}, {kForeverMs}, *this, 0),
        network_(network),
        truth_(truth) {}
  void send(const Route& to, Message&& message) override {
    const MessageType type = message.header.type;
    if (type == MessageType::kParameters || type == MessageType::kSnapshotData) {
      for (const float value : message.payload.floats()) truth_.note(message.header.step, value);
    }
    network_.answer(to, std::move(message));
  }
  void log(LogLevel, const std::string&) override {}

  PsCore core;

 private:
  SimulatedNetwork& network_;
  Truth& truth_;
};

class Simulation;

// A process of a worker task: what RemoteClient and the training loop do, one event at a time.
class SimulatedWorker {
 public:
  SimulatedWorker(Simulation& simulation, std::uint32_t index, std::uint64_t incarnation);

  void tick();
  void die() {
    for (auto& link : links_) link->line.die();
  }
  bool finished() const { return phase_ == Phase::kFinished; }

 private:
  enum class Phase {
    kOpening,
    kCreating,
    kJoining,
    kStaging,
    kCommitted,
    kAdvancing,
    kComputing,
    kSnapshotVector,
    kSnapshotTake,
    kDone,
    kFinished
  };

  struct Link : ExchangeActions {
    Link(SimulatedWorker& worker, std::uint32_t ps);
    void send(const Header& header, std::span<const std::byte> payload) override {
      line.send({header, frame_of(payload)});
    }
    void reconnect() override { line.give_up(); }
    void report(const std::string&) override {}
    void notice(const std::string&) override {}
    void values(std::size_t, Range, std::span<const float>) override {}

    SimulatedWorker& worker;
    SimulatedNetwork::Line line;
    Exchange exchange;
  };

  Exchange& lead() { return links_.front()->exchange; }
  // Whether the ps tasks that the phase is about have answered.
  bool answered();
  void advance();
  void open();
  void create();
  void compute();
  void push();
  void commit();
  void take_turn();
  void check_snapshot();
  void ask(Phase phase, MessageType answer, const RequestPart& part, std::size_t first, std::size_t last);

  Simulation& simulation_;
  std::uint32_t index_;
  std::uint64_t incarnation_;
  Phase phase_ = Phase::kOpening;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<float> gradient_;
  std::vector<Frame> records_;
  std::uint64_t sequence_ = 0, run_ = 0;
  std::int64_t step_ = 0;  // of the parameters of its turn
  std::int64_t position_ = 0;
  bool pushed_ = false;
  int turns_ = 0;
  TimeMs ready_ms_ = 0;  // until then it computes
};

class Simulation {
 public:
  explicit Simulation(const Plan& plan)
      : truth{plan, {}}, network(clock, plan.seed, plan.faults), random(plan.seed, 2) {
    for (std::uint32_t k = 0; k < plan.num_ps; ++k) {
      servers.push_back(std::make_unique<SimulatedPs>(network, truth, k));
    }
    accepted.resize(plan.num_workers);
    current.resize(plan.num_workers);
    for (std::uint32_t w = 0; w < plan.num_workers; ++w) start_worker(w);
  }

  void run() {
    clock.at(0, [this] { tick(); });
    if (truth.plan.deaths) clock.at(static_cast<TimeMs>(random.below(5'000)), [this] { kill_someone(); });
    while (!over() && clock.step()) REQUIRE(clock.now() < kForeverMs);
  }

  Truth truth;
  SimulatedClock clock;
  SimulatedNetwork network;
  Random random;
  std::vector<std::unique_ptr<SimulatedPs>> servers;
  Counts accepted;  // pushes whose workers know that they count
  int whole_snapshots = 0;

 private:
  bool over() const {
    return std::ranges::all_of(current, [](const SimulatedWorker* worker) { return worker->finished(); });
  }
  void start_worker(std::uint32_t index) {
    processes_.push_back(std::make_unique<SimulatedWorker>(*this, index, 10 + processes_.size()));
    current[index] = processes_.back().get();
  }
  void tick() {
    for (auto& ps : servers) ps->core.on_tick(clock.now());
    for (SimulatedWorker* worker : current) worker->tick();
    clock.at(clock.now() + kTickMs, [this] { tick(); });
  }
  void kill_someone() {
    const auto index = static_cast<std::uint32_t>(random.below(truth.plan.num_workers));
    if (!current[index]->finished()) {
      current[index]->die();
      start_worker(index);
    }
    const auto pause_ms = 3 * kProbeMs + static_cast<TimeMs>(random.below(5'000));
    if (++deaths_ < 3) clock.at(clock.now() + pause_ms, [this] { kill_someone(); });
  }

  std::vector<std::unique_ptr<SimulatedWorker>> processes_;  // dead ones, too: their messages are still on their way
  std::vector<SimulatedWorker*> current;
  int deaths_ = 0;
};

ExchangeConfig exchange_config(const Plan& plan, std::uint32_t ps, std::uint32_t worker, std::uint64_t incarnation) {
  ExchangeConfig config;
  config.ps_name = "ps:" + std::to_string(ps);
  config.worker = worker;
  config.incarnation = incarnation;
  config.hello = {"", worker == 0, plan.num_workers, plan.num_ps, ps, kJob};
  config.pieces = {{3 * ps, 2}, {3 * ps + 2, 1}};
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
      exchange(exchange_config(owner.simulation_.truth.plan, ps, owner.index_, owner.incarnation_), *this) {}

SimulatedWorker::SimulatedWorker(Simulation& simulation, std::uint32_t index, std::uint64_t incarnation)
    : simulation_(simulation), index_(index), incarnation_(incarnation) {
  for (std::uint32_t k = 0; k < simulation.truth.plan.num_ps; ++k) links_.push_back(std::make_unique<Link>(*this, k));
  gradient_.assign(2, static_cast<float>(std::pow(kBase, index)));
  open();
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

bool SimulatedWorker::answered() {
  const auto all = [&](auto predicate, std::size_t first = 0) {
    return std::all_of(links_.begin() + static_cast<std::ptrdiff_t>(first), links_.end(),
                       [&](const auto& link) { return predicate(link->exchange); });
  };
  const auto answer = [](const Exchange& exchange) { return exchange.answered(); };
  switch (phase_) {
    case Phase::kOpening:
      return all([](const Exchange& exchange) { return exchange.opened(); });
    case Phase::kJoining:
    case Phase::kCommitted:
    case Phase::kSnapshotVector:
      return lead().answered();
    case Phase::kStaging:
    case Phase::kAdvancing:
      return all(answer, 1);
    case Phase::kComputing:
      return simulation_.clock.now() >= ready_ms_;
    default:
      return all(answer);
  }
}

void SimulatedWorker::advance() {
  if (phase_ == Phase::kFinished) return;
  for (const auto& link : links_) {
    if (link->exchange.stale()) return open();
  }
  if (!answered()) return;
  const RequestPart join{MessageType::kJoin, WireDtype::kNone, 0, {}, {}};
  switch (phase_) {
    case Phase::kOpening:
      if (lead().run() == 0 ||
          std::ranges::any_of(links_, [&](const auto& link) { return link->exchange.run() != lead().run(); })) {
        return index_ == 0 ? create() : open();
      }
      run_ = lead().run();
      return ask(Phase::kJoining, MessageType::kToken, join, 0, 1);
    case Phase::kCreating:
      return ask(Phase::kJoining, MessageType::kToken, join, 0, 1);
    case Phase::kStaging:
      return commit();
    case Phase::kJoining:
    case Phase::kCommitted:
      return take_turn();
    case Phase::kAdvancing:
      return compute();
    case Phase::kComputing:
      return push();
    case Phase::kSnapshotVector:
      records_.clear();
      records_.push_back(encode(SnapshotRecord{{}, {}, lead().snapshot().updates}));
      return ask(Phase::kSnapshotTake, MessageType::kSnapshotEnd,
                 {MessageType::kSnapshotTake, WireDtype::kRecord, 0, {}, records_.back().bytes()}, 0, links_.size());
    case Phase::kSnapshotTake:
      return check_snapshot();
    case Phase::kDone:
      phase_ = Phase::kFinished;
      return;
    case Phase::kFinished:
      return;
  }
}

void SimulatedWorker::open() {
  phase_ = Phase::kOpening;
  pushed_ = false;
  ++sequence_;
  for (auto& link : links_) link->exchange.open(sequence_, simulation_.clock.now());
}

void SimulatedWorker::create() {
  phase_ = Phase::kCreating;
  run_ = 100 * incarnation_ + ++sequence_;
  static const std::vector<float> kZeros(2);
  records_.clear();
  for (auto& link : links_) {
    Exchange& exchange = link->exchange;
    CreateRecord record;
    record.strategy = simulation_.truth.plan.strategy;
    record.optimizer = {OptimizerKind::kSgd, static_cast<float>(simulation_.truth.plan.pushes_to_a_step())};
    for (std::size_t chunk = 0; chunk < 2; ++chunk) {
      record.pieces.push_back({fmt::format("v{}", chunk), exchange.chunks().range(chunk)});
    }
    records_.push_back(encode(record));
    exchange.begin({MessageType::kWelcome, sequence_, run_}, simulation_.clock.now());
    exchange.add({MessageType::kCreate, WireDtype::kRecord, 0, {}, records_.back().bytes()});
    for (const NamedRange& piece : record.pieces) {
      const auto zeros = std::span(kZeros).first(static_cast<std::size_t>(piece.range.size));
      exchange.add({MessageType::kLoad, WireDtype::kF32, 0, piece.range, std::as_bytes(zeros)});
    }
    exchange.add({MessageType::kCreateEnd, WireDtype::kNone, 0, {}, {}});
  }
}

void SimulatedWorker::ask(Phase phase, MessageType answer, const RequestPart& part, std::size_t first,
                          std::size_t last) {
  phase_ = phase;
  ++sequence_;
  for (std::size_t k = first; k < last; ++k) {
    links_[k]->exchange.begin({answer, sequence_, run_, lead().step()}, simulation_.clock.now());
    links_[k]->exchange.add(part);
  }
}

// ---- A step ----

void SimulatedWorker::compute() {
  if (index_ == 0 && ++turns_ % 3 == 0) {
    return ask(Phase::kSnapshotVector, MessageType::kSnapshotVector,
               {MessageType::kSnapshotBegin, WireDtype::kNone, 0, {}, {}}, 0, 1);
  }
  phase_ = Phase::kComputing;
  ready_ms_ = simulation_.clock.now() + static_cast<TimeMs>(simulation_.random.below(300));
}

void SimulatedWorker::push() {
  if (step_ >= kTrainSteps) {
    return ask(Phase::kDone, MessageType::kDoneAck, {MessageType::kDone, WireDtype::kNone, 0, {}, {}}, 0,
               links_.size());
  }
  phase_ = Phase::kStaging;
  pushed_ = true;
  ++sequence_;
  for (std::size_t k = 0; k < links_.size(); ++k) {
    Exchange& exchange = links_[k]->exchange;
    const MessageType answer = k == 0 ? MessageType::kToken : MessageType::kStaged;
    exchange.begin({answer, sequence_, run_, step_, kBatchSamples}, simulation_.clock.now());
    for (std::size_t chunk = 2; chunk-- > 0;) {
      const Range range = exchange.chunks().range(chunk);
      const auto gradient = std::span(gradient_).first(static_cast<std::size_t>(range.size));
      exchange.add({MessageType::kPush, WireDtype::kF32, 0, range, std::as_bytes(gradient)});
    }
    exchange.end(simulation_.clock.now());
  }
  advance();
}

void SimulatedWorker::commit() {
  phase_ = Phase::kCommitted;
  RequestPart part{MessageType::kCommit, WireDtype::kNone, 0, {}, {}};
  part.commit = lead().commit();
  for (std::size_t k = 1; k < links_.size(); ++k) part.commit = std::min(part.commit, links_[k]->exchange.commit());
  lead().add(part);
  lead().end(simulation_.clock.now());
}

void SimulatedWorker::take_turn() {
  const TokenRecord& token = lead().token();
  // Every batch moves the position on, whether it counts or not; a new process goes on where the old one was.
  if (pushed_) REQUIRE(token.consumed_samples == position_ + kBatchSamples);
  REQUIRE(token.consumed_samples >= simulation_.accepted[index_] * kBatchSamples);
  if (pushed_ && token.accepted) ++simulation_.accepted[index_];
  position_ = token.consumed_samples;
  step_ = lead().step();
  pushed_ = false;
  records_.clear();
  records_.push_back(encode(UpdatesRecord{token.updates}));
  ask(Phase::kAdvancing, MessageType::kParameters,
      {MessageType::kAdvance, WireDtype::kRecord, 0, {}, records_.back().bytes()}, 1, links_.size());
  advance();
}

// All parts of a snapshot that is of one commit are what the truth says (which every ps has checked); what has been
// applied has been consumed.
void SimulatedWorker::check_snapshot() {
  const bool whole =
      std::ranges::all_of(links_, [&](const auto& link) { return link->exchange.commit() == lead().commit(); });
  if (whole) {
    ++simulation_.whole_snapshots;
    const Counts& counts = simulation_.truth.at_step.at(lead().step());
    const ConsumedSamples& samples = lead().snapshot().consumed_samples;
    for (std::uint32_t w = 0; w < counts.size(); ++w) {
      const auto at = samples.find(w);
      REQUIRE((at == samples.end() ? 0 : at->second) >= counts[w] * kBatchSamples);
    }
  }
  phase_ = Phase::kComputing;
}

// Runs a job to its end and checks what must hold then.
int run_and_check(const Plan& plan) {
  CAPTURE(plan.seed, plan.num_ps, plan.num_workers, plan.strategy.replicas_to_aggregate);
  Simulation simulation(plan);
  simulation.run();
  for (const auto& ps : simulation.servers) {
    REQUIRE(ps->core.end().has_value());
    CHECK(ps->core.end()->code == ExitCode::kOk);
  }
  const auto& [last_step, counts] = *simulation.truth.at_step.rbegin();
  CHECK(last_step >= kTrainSteps);
  CHECK(last_step < kTrainSteps + (plan.strategy.sync ? 1 : plan.num_workers));
  for (std::uint32_t worker = 0; worker < plan.num_workers; ++worker) {
    CHECK(counts[worker] >= simulation.accepted[worker]);
    if (!plan.deaths) CHECK(counts[worker] == simulation.accepted[worker]);
  }
  return simulation.whole_snapshots;
}

// N = R, backup workers, several batches to a step; drop, stale synchronous parallel; on one ps and on two.
Plan plan_of(std::uint64_t seed, const Faults& faults, bool deaths) {
  Plan plan{seed, 1 + static_cast<std::uint32_t>(seed / 5 % 2), 2, {}, faults, deaths};
  Strategy& strategy = plan.strategy;
  strategy.train_steps = kTrainSteps;
  strategy.sync = seed % 5 < 3;
  strategy.on_lost_worker = OnLostWorker::kWait;
  strategy.replicas_to_aggregate = seed % 5 == 2 ? 4 : 2;
  if (seed % 5 == 1) plan.num_workers = 3;
  if (seed % 5 == 3) strategy.staleness = StalenessPolicy::kDrop;
  if (seed % 5 == 4) strategy.max_staleness = 1, plan.num_workers = 3;
  return plan;
}

}  // namespace

TEST_CASE("on a good network every run comes to its end, and every snapshot is whole") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CHECK(run_and_check(plan_of(seed, {0, 0, 0, 50, 0}, false)) > 0);
  }
}

TEST_CASE("on a bad network every accepted push counts once, everywhere, and every run comes to its end") {
  int whole_snapshots = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) whole_snapshots += run_and_check(plan_of(seed, {}, false));
  CHECK(whole_snapshots > 500);
}

TEST_CASE("on a network that loses every fifth message runs still come to their end") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) run_and_check(plan_of(seed, {0.1, 0.1, 0.01, 50, 20'000}, false));
}

TEST_CASE("processes that die and are started again hold no run up for ever, and lose or double nothing") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) run_and_check(plan_of(seed, {}, true));
}

}  // namespace distmnist::trace
