// AsyncReplicas: the rules of asynchronous training: each push is a separate update, applied in order of arrival.
// Options that limit staleness: old pushes are dropped or scaled down; a worker may be at most S batches ahead of the
// slowest one (stale synchronous parallel, Ho et al., NIPS 2013); worker 0 may train alone at first.
#pragma once

#include <optional>
#include <vector>

#include "lib/ps/server/coordinator.h"

namespace distmnist {

class AsyncReplicas : public Coordinator {
 public:
  AsyncReplicas(const Strategy& strategy, std::uint32_t num_workers) : strategy_(strategy), workers_(num_workers) {}

  void arrive(std::uint32_t worker) override;
  void depart(std::uint32_t worker, TimeMs now) override;
  void retire(std::uint32_t worker) override { workers_[worker].done = true; }
  Verdict push(const PushId& id, std::int64_t step, std::int64_t global_step) override;
  Verdict drop(const PushId& id, std::int64_t step, std::int64_t global_step) override;
  std::optional<Update> next_update() override;
  bool take_token(std::uint32_t worker, std::int64_t global_step) override;
  std::string waiting_for(std::int64_t global_step) const override;
  CoordinatorTick tick(TimeMs) override { return {}; }

 private:
  struct Worker {
    bool present = false;
    bool done = false;       // it has retired and has not come back
    std::int64_t clock = 0;  // batches it has finished, including dropped ones
  };

  // Records that the worker has finished a batch computed from the parameters of `step`. Returns its staleness.
  std::int64_t finish_batch(std::uint32_t worker, std::int64_t step, std::int64_t global_step);
  bool warming_up(std::int64_t global_step) const {
    return global_step < strategy_.warmup_steps && !workers_.front().done;
  }
  // Of the workers that take part; empty if there are none.
  std::optional<std::int64_t> slowest_clock() const;

  Strategy strategy_;
  std::vector<Worker> workers_;  // by task index
  std::optional<Update> update_;
};

}  // namespace distmnist
