// ReplicationModel: the rules in docs/semantics.md about which pushes count and which worker may compute a batch, in
// their simplest form. A test passes it the inputs and outputs of ps 0; a forbidden decision throws a Violation. It
// checks any decision; the scripts (CoordinatorScript, JobScript) compare single cases with fixed answers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "lib/ps/server/coordinator.h"
#include "lib/ps/server/sync_replicas.h"

namespace distmnist::trace {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};
inline void require(bool holds, const std::string& rule) {
  if (!holds) throw Violation(rule);
}

class ReplicationModel {
 public:
  ReplicationModel(const Strategy& strategy, std::uint32_t num_workers, TimeMs now, TimeMs max_wait_ms)
      : strategy_(strategy), tasks_(num_workers), needed_(strategy.replicas_to_aggregate) {
    for (Task& task : tasks_) task.missed_from_ms = now + max_wait_ms;
  }

  std::int64_t global_step() const { return global_step_; }
  std::int64_t applied() const { return static_cast<std::int64_t>(applied_.size()); }
  bool over() const { return global_step_ >= strategy_.train_steps; }

  // ---- Members ----

  void arrives(std::uint32_t worker) {
    Task& task = tasks_[worker];
    if (!task.present) task.clock = slowest_clock().value_or(task.clock);
    task.present = true;
  }

  void departs(std::uint32_t worker, TimeMs now) {
    Task& task = tasks_[worker];
    if (!task.present) return;
    if (task.computing) --handed_out_;
    task = {false, now + kLostWorkerGraceMs, false, task.contributed, false, task.clock};
  }

  void time_passes(TimeMs now) {
    std::uint32_t left = 0;
    for (Task& task : tasks_) {
      const bool missed = !task.present && now >= task.missed_from_ms;
      if (missed && task.reserved) short_ms_.reset();  // the batch that was reserved for it is now available to others
      if (missed) task.reserved = false;
      left += missed ? 0 : 1;
    }
    if (strategy_.sync && strategy_.on_lost_worker == OnLostWorker::kShrink && !several_batches()) {
      needed_ = std::clamp(left, 1u, strategy_.replicas_to_aggregate);
    }
  }

  // ---- Pushes ----

  // `finite`: whether the push may count.
  void decides(const PushId& id, std::int64_t step, bool finite, const Verdict& verdict) {
    Task& task = tasks_[id.worker];
    require(decided_.insert(id).second, "a push is decided once");
    require(step <= global_step_, "nobody has parameters of the future");
    const std::int64_t staleness = global_step_ - step;
    require(verdict.staleness == staleness, "the staleness is the number of updates since");
    require(verdict.finite == finite, "who is told that its push is not finite is told the truth");
    require(verdict.accepted == (finite && counts(staleness)), "a push counts where its parameters are new enough");
    if (!in_warmup()) ++task.clock;
    if (!verdict.accepted) return;
    require(!strategy_.sync || several_batches() || !task.contributed, "a worker is in a step once");
    task.computing = false;
    task.contributed = true;
    accepted_.insert(id);
    const bool scale = strategy_.staleness == StalenessPolicy::kScale;
    rate_factor_ = scale ? 1.0f / static_cast<float>(std::max<std::int64_t>(1, staleness)) : 1.0f;
  }

  void updates(const Update& update) {
    require(update_is_due(), "no update before its gradients are there");
    require(std::ranges::equal(update.pushes, accepted_), "an update is of the accepted pushes, in order of workers");
    require(update.rate_factor == rate_factor_, "the learning rate is scaled with the staleness");
    for (const PushId& id : update.pushes) require(applied_.insert(id).second, "a push is applied once");
    accepted_.clear();
    ++global_step_;
    handed_out_ = 0;
    for (Task& task : tasks_) {
      task.computing = task.contributed = false;
      task.reserved = task.present;
    }
  }

  // ---- Turns ----

  void lets_go(std::uint32_t worker) {
    require(may_go(worker), fmt::format("worker:{} is let go before its turn", worker));
    Task& task = tasks_[worker];
    if (!task.computing) ++handed_out_;
    task.computing = true;
    task.reserved = false;
    const std::size_t tokens = std::max<std::size_t>(tasks_.size(), strategy_.replicas_to_aggregate);
    require(!strategy_.sync || over() || handed_out_ <= tokens, "not more than max(N, R) tokens to a step");
  }

  // Called after everything that follows from an event: no decision may be delayed.
  void settled(const std::vector<std::uint32_t>& waiting, TimeMs now) {
    require(!update_is_due(), "an update is made when its gradients are there");
    for (const std::uint32_t worker : waiting) {
      require(!may_go(worker), fmt::format("worker:{} is let go when its turn has come", worker));
    }
    if (short_of_workers()) short_ms_ = now;
  }

  void refuses(std::uint32_t worker, TimeMs now) const {
    // A worker that arrived later may not have helped yet, because it stalls, or its messages were lost and sent again.
    const bool due = short_ms_ && now - *short_ms_ <= kHelpMs;
    require(due, fmt::format("worker:{} is refused although there are workers enough", worker));
  }

 private:
  static constexpr TimeMs kHelpMs = 60'000;
  struct Task {
    bool present = false;
    TimeMs missed_from_ms = 0;  // while it is not present
    bool computing = false;     // its process has a token of the current step
    bool contributed = false;   // one of its pushes counts in the current step
    bool reserved = true;       // N < R: one token of the current step is reserved for it
    std::int64_t clock = 0;
  };

  bool several_batches() const { return tasks_.size() < strategy_.replicas_to_aggregate; }
  bool in_warmup() const { return global_step_ < strategy_.warmup_steps; }

  bool counts(std::int64_t staleness) const {
    if (strategy_.sync) return staleness == 0;
    return strategy_.staleness != StalenessPolicy::kDrop || staleness <= strategy_.drop_above;
  }

  bool update_is_due() const { return accepted_.size() >= (strategy_.sync ? std::max(needed_, 1u) : 1u); }

  std::optional<std::int64_t> slowest_clock() const {
    std::optional<std::int64_t> slowest;
    for (const Task& task : tasks_) {
      if (task.present) slowest = std::min(slowest.value_or(task.clock), task.clock);
    }
    return slowest;
  }

  bool may_go(std::uint32_t worker) const {
    if (over()) return true;
    const Task& task = tasks_[worker];
    if (!strategy_.sync) {
      if (in_warmup()) return worker == 0;
      return strategy_.max_staleness == kUnboundedStaleness ||
             task.clock - slowest_clock().value_or(task.clock) <= strategy_.max_staleness;
    }
    if (task.computing) return true;  // the answer was lost, and it asks again
    if (!several_batches()) return !task.contributed;
    // The batches of the step, out of R, that are not done, in progress or reserved.
    auto free =
        static_cast<std::int64_t>(strategy_.replicas_to_aggregate) - static_cast<std::int64_t>(accepted_.size());
    for (const Task& each : tasks_) free -= (each.computing ? 1 : 0) + (each.reserved ? 1 : 0);
    return task.reserved || free > 0;
  }

  // True if the present workers cannot, or may not, make another step.
  bool short_of_workers() const {
    if (in_warmup()) return !tasks_[0].present;
    if (!strategy_.sync) return false;
    const auto number = [this](auto predicate) { return std::ranges::count_if(tasks_, predicate); };
    // A batch is reserved for a worker that has not arrived yet.
    if (several_batches()) return number([](const Task& task) { return task.reserved && !task.present; }) > 0;
    if (strategy_.on_lost_worker == OnLostWorker::kShrink) return false;
    const bool dead_ones_count = strategy_.on_lost_worker == OnLostWorker::kWait;
    return number([&](const Task& task) { return task.present || (dead_ones_count && task.contributed); }) <
           strategy_.replicas_to_aggregate;
  }

  Strategy strategy_;
  std::vector<Task> tasks_;
  std::uint32_t needed_;
  std::int64_t global_step_ = 0;
  std::size_t handed_out_ = 0;  // tokens of the current step that are in use or used
  float rate_factor_ = 1;       // of the last accepted push
  std::set<PushId> decided_, accepted_, applied_;
  std::optional<TimeMs> short_ms_;  // when short_of_workers() was last true
};

}  // namespace distmnist::trace
