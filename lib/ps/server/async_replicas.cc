#include "lib/ps/server/async_replicas.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

namespace distmnist {

void AsyncReplicas::arrive(std::uint32_t worker) {
  Worker& newcomer = workers_[worker];
  if (newcomer.present) return;
  // A late worker starts at the clock of the slowest one: the others do not wait until it has caught up.
  newcomer.clock = slowest_clock().value_or(newcomer.clock);
  newcomer.present = true;
  newcomer.done = false;
}

void AsyncReplicas::depart(std::uint32_t worker, TimeMs) {
  workers_[worker].present = false;
}

std::optional<std::int64_t> AsyncReplicas::slowest_clock() const {
  std::optional<std::int64_t> slowest;
  for (const Worker& worker : workers_) {
    if (worker.present) slowest = std::min(slowest.value_or(worker.clock), worker.clock);
  }
  return slowest;
}

std::int64_t AsyncReplicas::finish_batch(std::uint32_t worker, std::int64_t step, std::int64_t global_step) {
  // While worker 0 trains alone it gains no lead: it would otherwise have to wait for the workers that wait for it.
  if (!warming_up(global_step)) ++workers_[worker].clock;
  return std::max<std::int64_t>(0, global_step - step);
}

Verdict AsyncReplicas::drop(const PushId& id, std::int64_t step, std::int64_t global_step) {
  return {false, finish_batch(id.worker, step, global_step), false};
}

Verdict AsyncReplicas::push(const PushId& id, std::int64_t step, std::int64_t global_step) {
  Verdict verdict;
  verdict.staleness = finish_batch(id.worker, step, global_step);
  verdict.accepted = strategy_.staleness != StalenessPolicy::kDrop || verdict.staleness <= strategy_.drop_above;
  if (!verdict.accepted) return verdict;
  update_.emplace().pushes = {id};
  if (strategy_.staleness == StalenessPolicy::kScale) {
    update_->rate_factor = 1.0f / static_cast<float>(std::max<std::int64_t>(1, verdict.staleness));
  }
  return verdict;
}

std::optional<Update> AsyncReplicas::next_update() {
  return std::exchange(update_, std::nullopt);
}

bool AsyncReplicas::take_token(std::uint32_t worker, std::int64_t global_step) {
  if (global_step >= strategy_.train_steps) return true;  // The run is over; no worker waits.
  if (warming_up(global_step)) return worker == 0;
  if (strategy_.max_staleness == kUnboundedStaleness) return true;
  const std::int64_t clock = workers_[worker].clock;
  return clock - slowest_clock().value_or(clock) <= strategy_.max_staleness;
}

std::string AsyncReplicas::waiting_for(std::int64_t global_step) const {
  if (warming_up(global_step)) {
    return fmt::format("worker:0, which trains alone until global_step {} and is now at {} (--warmup_steps)",
                       strategy_.warmup_steps, global_step);
  }
  std::string whom;
  const std::optional<std::int64_t> slowest = slowest_clock();
  for (std::uint32_t index = 0; index < workers_.size(); ++index) {
    const Worker& worker = workers_[index];
    if (worker.present && worker.clock == *slowest) whom += fmt::format("{}worker:{}", whom.empty() ? "" : ", ", index);
  }
  return fmt::format("{}, the slowest, at batch {} (--max_staleness={})", whom.empty() ? "a worker" : whom,
                     slowest.value_or(0), strategy_.max_staleness);
}

}  // namespace distmnist
