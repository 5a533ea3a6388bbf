// SyncReplicas: the rules of synchronous training with backup workers (Chen et al., arXiv 1604.00981). They are those
// of TensorFlow 1.x's SyncReplicasOptimizer, without its chief thread.
//
// A step takes R gradients. A push counts if it was computed from the parameters of the current step; otherwise it is
// dropped. After R of them the model is updated with their mean, the step is incremented, and max(N, R) tokens appear.
// A worker needs one token for each batch. Unused tokens expire at the next step.
// N >= R: one token for each worker, so that one worker's gradient counts at most once in a step and a run with N = R
//         is the same every time. The N - R slowest of a step are dropped (backup workers).
// N < R:  one token for each worker that takes part; the others go to the workers that ask first.
#pragma once

#include <string_view>
#include <vector>

#include "lib/ps/server/coordinator.h"

namespace distmnist {

inline constexpr TimeMs kLostWorkerGraceMs = 5'000;  // time for a new process of a task after its worker has gone

class SyncReplicas : public Coordinator {
 public:
  SyncReplicas(const Strategy& strategy, std::uint32_t num_workers, TimeMs now, TimeMs first_worker_ms);

  void arrive(std::uint32_t worker) override;
  void depart(std::uint32_t worker, TimeMs now) override;
  void retire(std::uint32_t worker) override { workers_[worker].done = true; }
  Verdict push(const PushId& id, std::int64_t step, std::int64_t global_step) override;
  Verdict drop(const PushId& id, std::int64_t step, std::int64_t global_step) override;
  std::optional<Update> next_update() override;
  bool take_token(std::uint32_t worker, std::int64_t global_step) override;
  std::string waiting_for(std::int64_t global_step) const override;
  CoordinatorTick tick(TimeMs now) override;

 private:
  struct Worker {
    bool present = false;
    bool done = false;          // it has retired and has not come back
    TimeMs missed_from_ms = 0;  // while it is not present: when the run begins to count it as lost
    bool has_own_token = true;  // its token of this step is unused
    bool in_hand = false;       // it has taken a token of this step and has not pushed for it
  };

  bool several_batches() const { return workers_.size() < replicas_to_aggregate_; }
  std::int64_t shared_tokens() const;
  void new_tokens();
  void set_needed(std::uint32_t needed, std::string_view why_fewer, CoordinatorTick& out);

  std::uint32_t replicas_to_aggregate_;
  OnLostWorker on_lost_worker_;
  std::int64_t train_steps_;
  std::vector<Worker> workers_;  // by task index
  std::uint32_t needed_;         // gradients for the current step: R, or fewer after a loss
  std::vector<PushId> accepted_;
};

}  // namespace distmnist
