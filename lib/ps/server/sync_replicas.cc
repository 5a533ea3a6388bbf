#include "lib/ps/server/sync_replicas.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "lib/base/counted.h"

namespace distmnist {

SyncReplicas::SyncReplicas(const Strategy& strategy, std::uint32_t num_workers, TimeMs now, TimeMs first_worker_ms)
    : replicas_to_aggregate_(strategy.replicas_to_aggregate),
      on_lost_worker_(strategy.on_lost_worker),
      train_steps_(strategy.train_steps),
      workers_(num_workers),
      needed_(replicas_to_aggregate_) {
  for (Worker& worker : workers_) worker.missed_from_ms = now + first_worker_ms;
}

// ---- Members ----

void SyncReplicas::arrive(std::uint32_t worker) {
  workers_[worker].present = true;
  workers_[worker].done = false;
}

void SyncReplicas::depart(std::uint32_t worker, TimeMs now) {
  Worker& gone = workers_[worker];
  if (!gone.present) return;
  gone.present = false;
  gone.missed_from_ms = now + kLostWorkerGraceMs;
  const bool unused = std::exchange(gone.in_hand, false);
  // For its successor, which continues where this process was, or for the worker that asks first.
  gone.has_own_token = !several_batches() && (gone.has_own_token || unused);
}

// ---- Pushes and tokens ----

Verdict SyncReplicas::push(const PushId& id, std::int64_t step, std::int64_t global_step) {
  // Its token expired with its step. (It keeps a token of this step that a repeated question has taken.)
  if (step < global_step) return {false, global_step - step};
  accepted_.push_back(id);
  Worker& worker = workers_[id.worker];
  worker.in_hand = false;
  // A process that had counted as lost returned its token, and takes it again: otherwise it would push twice in this
  // step.
  worker.has_own_token = false;
  return {true, 0};
}

// The worker keeps its token of this step for the next batch, so the step still takes R gradients.
Verdict SyncReplicas::drop(const PushId&, std::int64_t step, std::int64_t global_step) {
  return {false, std::max<std::int64_t>(0, global_step - step), false};
}

std::optional<Update> SyncReplicas::next_update() {
  if (accepted_.empty() || accepted_.size() < needed_) return std::nullopt;
  Update update;
  update.pushes = std::exchange(accepted_, {});
  std::ranges::sort(update.pushes);  // The sum is in the order of the workers, not of arrival.
  new_tokens();
  return update;
}

void SyncReplicas::new_tokens() {
  for (Worker& worker : workers_) {
    worker.has_own_token = worker.present || !several_batches();
    worker.in_hand = false;  // Tokens of the step before: pushes for them will be dropped.
  }
}

// N < R: of the R batches of a step, those that are not done, not in progress, and have no reserved token.
std::int64_t SyncReplicas::shared_tokens() const {
  if (!several_batches()) return 0;
  auto tokens = static_cast<std::int64_t>(replicas_to_aggregate_) - static_cast<std::int64_t>(accepted_.size());
  for (const Worker& worker : workers_) tokens -= (worker.in_hand ? 1 : 0) + (worker.has_own_token ? 1 : 0);
  return tokens;
}

bool SyncReplicas::take_token(std::uint32_t worker, std::int64_t global_step) {
  if (global_step >= train_steps_) return true;  // The run is over; no worker waits.
  Worker& taker = workers_[worker];
  if (taker.in_hand) return true;  // Only the answer was lost.
  if (!taker.has_own_token && shared_tokens() <= 0) return false;
  taker.has_own_token = false;
  taker.in_hand = true;
  return true;
}

// ---- Losses ----

CoordinatorTick SyncReplicas::tick(TimeMs now) {
  CoordinatorTick out;
  std::string missed;
  std::uint32_t left = 0, unfinished = 0;
  for (std::uint32_t index = 0; index < workers_.size(); ++index) {
    Worker& worker = workers_[index];
    if (!worker.done) ++unfinished;
    if (!worker.done && (worker.present || now < worker.missed_from_ms)) {
      ++left;
      continue;
    }
    if (!worker.done) missed += fmt::format("{}worker:{}", missed.empty() ? "" : ", ", index);
    // The token that was reserved for its first batch will not be used.
    if (several_batches() && std::exchange(worker.has_own_token, false)) out.eased = true;
  }
  if (several_batches()) return out;  // Other workers contribute in place of the missing one.

  const std::uint32_t wanted = std::min(replicas_to_aggregate_, unfinished);
  if (on_lost_worker_ == OnLostWorker::kFail && left < wanted) {
    out.failure = fmt::format("{} lost: only {} left, but a step needs {} gradients (--on_lost_worker=fail)", missed,
                              counted(left, "worker"), wanted);
  } else if (on_lost_worker_ == OnLostWorker::kShrink && left < wanted) {
    set_needed(std::max(left, 1u), "workers are lost", out);
  } else {
    set_needed(std::max(wanted, 1u), "workers are done", out);
  }
  return out;
}

void SyncReplicas::set_needed(std::uint32_t needed, std::string_view why_fewer, CoordinatorTick& out) {
  if (needed == needed_) return;
  out.warnings.push_back(fmt::format("{}: a step now takes {} gradients instead of {}{}",
                                     needed < needed_ ? why_fewer : "workers are back", needed, needed_,
                                     on_lost_worker_ == OnLostWorker::kShrink ? " (--on_lost_worker=shrink)" : ""));
  out.eased = true;
  needed_ = needed;
}

std::string SyncReplicas::waiting_for(std::int64_t global_step) const {
  std::string whom;
  for (std::uint32_t index = 0; index < workers_.size(); ++index) {
    const Worker& worker = workers_[index];
    if (!worker.done && (worker.in_hand || worker.has_own_token))
      whom += fmt::format("{}worker:{}", whom.empty() ? "" : ", ", index);
  }
  return fmt::format("{} ({} of {} gradients for step {} have arrived)", whom.empty() ? "a worker" : whom,
                     accepted_.size(), needed_, global_step + 1);
}

}  // namespace distmnist
