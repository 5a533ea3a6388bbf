// Compares Turns and its coordinators with ReplicationModel. Each of many seeds is a run with its own strategy, in
// which workers push, ask again, stall, die and return at random moments. The decisions of ps 0 must follow the rules,
// event by event, and no worker waits forever.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/base/random.h"
#include "lib/ps/server/staged_pushes.h"
#include "lib/ps/server/turns.h"
#include "tests/support/catch.h"
#include "tests/support/replication_model.h"
#include "tests/support/trace.h"

namespace distmnist::trace {
namespace {

constexpr TimeMs kMaxWaitMs = 120'000;
constexpr TimeMs kTickMs = 100;
constexpr std::int64_t kTrainSteps = 60;

struct Plan {
  std::uint64_t seed = 0;
  std::uint32_t num_workers = 1;
  Strategy strategy;
  double deaths = 0;   // per moment of a worker: its process dies
  double stalls = 0;   // it stalls, perhaps for longer than its lease
  double repeats = 0;  // a question is repeated, perhaps an old one
  double lost = 0;     // share of questions and answers that are lost
  double bad = 0;      // share of pushes that are not finite
  bool restarts = true;

  std::string text() const {
    const Strategy& s = strategy;
    return fmt::format("seed {}: {} workers, {}, deaths {}, stalls {}, repeats {}, lost {}, restarts {}, bad {}", seed,
                       num_workers,
                       s.sync ? fmt::format("sync R {} on_lost {}", s.replicas_to_aggregate, int(s.on_lost_worker))
                              : fmt::format("async staleness {}:{} max_staleness {} warmup {}", int(s.staleness),
                                            s.drop_above, s.max_staleness, s.warmup_steps),
                       deaths, stalls, repeats, lost, restarts, bad);
  }
};

class Run {
 public:
  explicit Run(const Plan& plan)
      : plan_(plan),
        random_(plan.seed, 3),
        turns_(plan.strategy, plan.num_workers, 0, kMaxWaitMs),
        model_(plan.strategy, plan.num_workers, 0, kMaxWaitMs),
        processes_(plan.num_workers) {
    for (std::uint32_t w = 0; w < plan.num_workers; ++w) {
      // One in ten starts late or never.
      if (!happens(0.1)) start(w);
    }
  }

  // Runs to the end of the training, or until no worker is left.
  void run() {
    while (!model_.over() && (plan_.restarts || anyone_alive())) {
      pass_time();
      act(static_cast<std::uint32_t>(random_.below(plan_.num_workers)));
      require(now_ - progress_ms_ <= 2 * (kMaxWaitMs + kLeaseMs), "somebody goes on, or is told to give up");
    }
  }
  const ReplicationModel& model() const { return model_; }
  int refusals() const { return refusals_; }

 private:
  enum class State { kDead, kWaiting, kComputing };
  // The process of a worker task, and what ps 0 knows about it.
  struct Process {
    State state = State::kDead;
    std::uint64_t incarnation = 0, sequence = 0;
    Header question;        // the last one
    Header older;           // the one before
    std::int64_t step = 0;  // the step of its parameters
    TimeMs asked_ms = 0;
    TimeMs ready_ms = 0;   // it stalls or computes until then
    bool stalled = false;  // it sends nothing, not even a heartbeat
    bool gone_for_good = false;
    TimeMs last_heard_ms = 0;
    bool in_session = false;  // ps 0 considers it alive
  };

  bool happens(double probability) { return random_.uniform() < probability; }
  TimeMs some_ms(TimeMs limit) { return static_cast<TimeMs>(random_.below(static_cast<std::uint64_t>(limit))); }
  bool anyone_alive() const {
    return std::ranges::any_of(processes_, [](const Process& p) { return p.state != State::kDead; });
  }

  // ---- Time ----

  void pass_time() {
    const bool all_wait = std::ranges::none_of(
        processes_, [&](const Process& p) { return p.state == State::kComputing && p.ready_ms <= now_; });
    now_ += all_wait ? kTickMs : some_ms(10);
    if (!anyone_alive()) progress_ms_ = now_;
    if (now_ - ticked_ms_ < kTickMs) return;
    ticked_ms_ = now_;
    for (std::uint32_t w = 0; w < plan_.num_workers; ++w) {
      Process& process = processes_[w];
      if (process.stalled && now_ >= process.ready_ms) process.stalled = false;
      if (process.state != State::kDead && !process.stalled) hear(w);
      if (process.in_session && now_ - process.last_heard_ms >= kLeaseMs) depart(w);
    }
    turns_.watch(now_);
    model_.time_passes(now_);
    go_on();
    for (const Turns::Word& refusal : turns_.tell_waiting(model_.global_step(), now_).refusals) {
      model_.refuses(refusal.request.worker, now_);
      model_.departs(refusal.request.worker, now_);
      waiting_.erase(refusal.request.worker);
      ++refusals_;
      Process& process = processes_[refusal.request.worker];
      if (process.incarnation != refusal.request.incarnation) continue;
      process.state = State::kDead;
      process.gone_for_good = true;
      progress_ms_ = now_;
    }
    go_on();
  }

  // A message reached the ps.
  void hear(std::uint32_t worker) {
    Process& process = processes_[worker];
    process.last_heard_ms = now_;
    if (process.in_session) return;
    process.in_session = true;
    turns_.arrive(worker);
    if (joined_.contains(worker)) model_.arrives(worker);
    go_on();
  }

  void depart(std::uint32_t worker) {
    processes_[worker].in_session = false;
    progress_ms_ = now_;  // a live worker will ask again, and its wait starts again
    turns_.depart(worker, now_);
    model_.departs(worker, now_);
    waiting_.erase(worker);
    go_on();
  }

  // ---- What a worker does ----

  void act(std::uint32_t worker) {
    Process& process = processes_[worker];
    if (process.state == State::kDead) {
      if (plan_.restarts && (happens(0.01) || (process.gone_for_good && !anyone_alive()))) start(worker);
      return;
    }
    if (process.stalled) return;
    if (happens(plan_.deaths)) return die(worker);
    if (happens(plan_.stalls)) {
      process.stalled = true;
      process.ready_ms = now_ + some_ms(2 * kLeaseMs);
      return;
    }
    if (happens(plan_.repeats) && process.older.sequence > 0) return deliver(process.older);
    const bool unanswered = process.state == State::kWaiting && now_ - process.asked_ms >= kAnswerMs;
    if (unanswered || happens(plan_.repeats)) return ask(process);
    if (process.state == State::kComputing && now_ >= process.ready_ms) question(worker, MessageType::kCommit);
  }

  void start(std::uint32_t worker) {
    Process fresh;
    fresh.incarnation = ++incarnations_;
    fresh.last_heard_ms = now_;
    fresh.in_session = true;
    processes_[worker] = fresh;
    question(worker, MessageType::kJoin);
  }

  void die(std::uint32_t worker) {
    processes_[worker].state = State::kDead;
    if (happens(0.3)) depart(worker);  // with a message
  }

  void question(std::uint32_t worker, MessageType type) {
    Process& process = processes_[worker];
    process.state = State::kWaiting;
    process.older = process.question;
    Header& header = process.question;
    header = {};
    header.type = type;
    header.worker = worker;
    header.incarnation = process.incarnation;
    header.sequence = ++process.sequence;
    header.step = process.step;
    if (type == MessageType::kCommit && happens(plan_.bad)) header.flags |= kNotFinite;
    ask(process);
  }

  void ask(Process& process) {
    process.asked_ms = now_;
    if (!happens(plan_.lost)) deliver(process.question);
  }

  // ---- What the ps does ----

  void deliver(Header header) {
    hear(header.worker);
    if (header.type == MessageType::kJoin) {
      join(header);
    } else {
      commit(header);
    }
    go_on();
  }

  void join(const Header& header) {
    auto& joined = joined_[header.worker];
    if (joined != header.incarnation) model_.departs(header.worker, now_);
    joined = header.incarnation;
    turns_.join("", header, now_);
    model_.arrives(header.worker);
    waiting_.insert(header.worker);
  }

  void commit(const Header& header) {
    switch (turns_.known(header)) {
      case Turns::Known::kOlder:
        return;
      case Turns::Known::kDecided:
        turns_.ask_again("", header, now_);
        break;
      case Turns::Known::kNew:
        model_.decides(id_of(header), header.step, (header.flags & kNotFinite) == 0,
                       turns_.decide("", header, model_.global_step(), now_));
        break;
    }
    waiting_.insert(header.worker);
  }

  void go_on() {
    while (const auto update = turns_.next_update(now_)) {
      model_.updates(*update);
      progress_ms_ = now_;
    }
    while (const auto grant = turns_.next_grant(model_.global_step(), now_)) {
      const std::uint32_t worker = grant->request.worker;
      require(waiting_.erase(worker) == 1, "only who waits is answered");
      model_.lets_go(worker);
      answer(processes_[worker], grant->request);
    }
    model_.settled({waiting_.begin(), waiting_.end()}, now_);
  }

  void answer(Process& process, const Header& request) {
    if (happens(plan_.lost) || process.state != State::kWaiting || process.incarnation != request.incarnation) return;
    if (process.question.sequence != request.sequence) return;  // an answer to an old question
    process.state = State::kComputing;
    process.step = model_.global_step();
    process.ready_ms = std::max(process.ready_ms, now_ + some_ms(50));
    progress_ms_ = now_;
  }

  Plan plan_;
  Random random_;
  Turns turns_;
  ReplicationModel model_;
  std::vector<Process> processes_;
  std::map<std::uint32_t, std::uint64_t> joined_;  // incarnation by worker
  std::set<std::uint32_t> waiting_;                // workers that have not been answered by ps 0 yet
  std::uint64_t incarnations_ = 10;
  TimeMs now_ = 0, ticked_ms_ = 0, progress_ms_ = 0;
  int refusals_ = 0;
};

Plan plan_of(std::uint64_t seed) {
  Random random(seed, 4);
  Plan plan;
  plan.seed = seed;
  plan.num_workers = 1 + static_cast<std::uint32_t>(random.below(5));
  Strategy& strategy = plan.strategy;
  strategy.train_steps = kTrainSteps;
  strategy.sync = random.below(2) == 0;
  if (strategy.sync) {
    strategy.replicas_to_aggregate = 1 + static_cast<std::uint32_t>(random.below(8));
    strategy.on_lost_worker = static_cast<OnLostWorker>(random.below(3));
  } else {
    strategy.staleness = static_cast<StalenessPolicy>(random.below(3));
    strategy.drop_above = static_cast<std::int64_t>(random.below(4));
    if (random.below(2) == 0) strategy.max_staleness = static_cast<std::int64_t>(random.below(5));
    if (random.below(3) == 0) strategy.warmup_steps = static_cast<std::int64_t>(random.below(30));
  }
  plan.repeats = random.below(2) == 0 ? 0 : 0.05;
  plan.lost = random.below(2) == 0 ? 0 : 0.1;
  plan.deaths = random.below(2) == 0 ? 0 : 0.002;
  plan.stalls = random.below(2) == 0 ? 0 : 0.002;
  plan.restarts = random.below(4) != 0;
  plan.bad = random.below(2) == 0 ? 0 : 0.2;
  return plan;
}

}  // namespace

TEST_CASE("decisions of ps 0 follow the rules, whatever workers do, and no worker waits forever") {
  std::int64_t sync_steps = 0, async_steps = 0;
  int refusals = 0;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    const Plan plan = plan_of(seed);
    INFO(plan.text());
    Run run(plan);
    try {
      run.run();
    } catch (const Violation& violation) {
      FAIL_CHECK(violation.what() << " at global_step " << run.model().global_step());
      continue;
    }
    const Strategy& strategy = plan.strategy;
    const std::int64_t steps = run.model().global_step();
    const std::int64_t pushes = steps * (strategy.sync ? strategy.replicas_to_aggregate : 1);
    const bool may_shrink = strategy.sync && strategy.on_lost_worker == OnLostWorker::kShrink;
    CHECK(run.model().applied() <= pushes);
    if (!may_shrink) CHECK(run.model().applied() == pushes);
    if (plan.restarts) CHECK(steps == kTrainSteps);
    (strategy.sync ? sync_steps : async_steps) += steps;
    refusals += run.refusals();
  }
  REQUIRE(sync_steps + async_steps >= 100'000);
  CHECK(std::min(sync_steps, async_steps) >= 50'000);
  CHECK(refusals > 0);
}

}  // namespace distmnist::trace
