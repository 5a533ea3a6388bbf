// SimulatedWorker: a worker process in a SimulatedJob. It consists of the shipped WorkerSession and Exchange, and a
// simple training loop (see simulation.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tests/support/simulation_checks.h"

namespace distmnist::trace {

inline constexpr TimeMs kReopenPauseMs = 200;  // between two attempts to open the session
class SimulatedWorker {
 public:
  SimulatedWorker(SimulatedJob& job, std::uint32_t index, std::uint64_t incarnation)
      : job_(job),
        index_(index),
        links_(make_links()),
        session_(session_config(job, index, incarnation), actions_of(links_)),
        gradients_(job.plan.num_ps * kShardFloats, static_cast<float>(std::pow(kBase, index))),
        parameters_(gradients_.size()),
        model_(start_model(job.plan)) {
    open();
  }
  void tick() {
    for (std::size_t ps = 0; ps < links_.size(); ++ps) {
      if (!session_.exchange(ps).wants_connection()) continue;
      links_[ps]->line.connect();
      session_.exchange(ps).on_connected(now());
    }
    session_.on_tick(now());
    if (const auto* failure = session_.failure()) FAIL("worker:" << index_ << " fails: " << failure->reason);
    advance();
  }
  void die() {
    for (auto& link : links_) link->line.die();
  }
  // Dies after it has sent a leave message; its earlier messages can still arrive.
  void leave() {
    session_.leave();
    for (auto& link : links_) link->line.give_up();
  }
  WorkerSession& session() { return session_; }
  bool finished() const { return phase_ == Phase::kFinished; }

 private:
  enum class Phase { kOpening, kCreating, kJoining, kComputing, kPushing, kSnapshot, kDone, kFinished };
  using Links = std::vector<std::unique_ptr<SimulatedLink>>;
  Links make_links() {
    Links links;
    for (std::uint32_t ps = 0; ps < job_.plan.num_ps; ++ps) {
      links.push_back(std::make_unique<SimulatedLink>(job_, ps, [this, ps](Received&& received) {
        session_.on_message(ps, std::move(received), now());
        advance();
      }));
    }
    return links;
  }
  static std::vector<ExchangeActions*> actions_of(const Links& links) {
    std::vector<ExchangeActions*> actions;
    for (const auto& link : links) actions.push_back(link.get());
    return actions;
  }
  TimeMs now() const { return job_.clock.now(); }

  void open() {
    phase_ = Phase::kOpening;
    ready_ms_ = now() + kReopenPauseMs;
    session_.open(index_ == 0, now());
  }
  void advance() {
    if (finished()) return;
    const bool lost = !session_.lost().empty();
    if (lost && (phase_ != Phase::kOpening || now() >= ready_ms_)) return ++job_.reopened[index_], open();
    if (!lost && session_.finished()) next();
  }
  void next() {
    switch (phase_) {
      case Phase::kOpening:
        if (session_.info().has_model) return join();
        phase_ = Phase::kCreating;
        return session_.create(model_, now());
      case Phase::kCreating:
        return join();
      case Phase::kJoining:
        check_parameters(job_, session_, parameters_);
        position_ = session_.turn().consumed_samples;
        return begin_batch();
      case Phase::kComputing:
        if (now() < ready_ms_) return;
        if (!job_.over(index_, session_.run(), step_)) return push();
        phase_ = Phase::kDone;
        return session_.done(now());
      case Phase::kPushing:
        return on_pushed();
      case Phase::kSnapshot:
        check_snapshot(job_, session_);
        return begin_batch();
      default:
        phase_ = Phase::kFinished;
    }
  }
  void join() {
    phase_ = Phase::kJoining;
    std::ranges::fill(parameters_, NAN);
    session_.join(sink_, now());
  }
  void begin_batch() {
    phase_ = Phase::kComputing;
    step_ = session_.turn().global_step;
    ready_ms_ = now() + static_cast<TimeMs>(job_.random.below(300));
  }
  void push() {
    phase_ = Phase::kPushing;
    ++job_.ledgers[session_.run()].begun[index_];
    std::ranges::fill(parameters_, NAN);
    session_.begin_push(numbers_of(gradients_), step_, kBatchSamples, now());
    for (std::int64_t end = std::ssize(gradients_); end > 0; end -= kShardFloats) {
      session_.push({end - 1, 1});
      session_.push({end - kShardFloats, kShardFloats - 1});
    }
    session_.finish_push(sink_, now());
  }
  void on_pushed() {
    const bool accepted = session_.turn().accepted;
    position_ = check_push(job_, index_, session_, parameters_, position_);
    const bool due = job_.ledgers[session_.run()].accepted[index_] % job_.plan.snapshot_every == 0;
    if (index_ != 0 || !accepted || !due) return begin_batch();
    phase_ = Phase::kSnapshot;
    session_.snapshot(now());
  }

  SimulatedJob& job_;
  std::uint32_t index_;
  Phase phase_ = Phase::kOpening;
  Links links_;
  WorkerSession session_;
  std::vector<float> gradients_, parameters_;
  BlockSink sink_{parameters_};
  StoredModel model_;          // the model that the chief creates
  std::int64_t step_ = 0;      // the step of its parameters
  std::int64_t position_ = 0;  // of its next batch, in samples
  TimeMs ready_ms_ = 0;        // it computes or pauses until then
};

}  // namespace distmnist::trace
