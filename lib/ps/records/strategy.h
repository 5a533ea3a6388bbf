// Strategy: how the workers of a run are synchronized: which pushes count, and when a worker may continue.
// docs/semantics.md is the specification. Every ps gets it when the chief creates the model.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist {

// How a push with old parameters is handled (asynchronous runs).
enum class StalenessPolicy : std::uint8_t {
  kKeep = 0,   // applied like any other
  kDrop = 1,   // refused if its staleness is above drop_above
  kScale = 2,  // applied with the learning rate divided by its staleness (arXiv 1511.05950)
};

// What a synchronous run does when fewer workers are left than a step needs gradients.
enum class OnLostWorker : std::uint8_t {
  kWait = 0,    // wait for a new process of the lost task; the step is not made without it
  kShrink = 1,  // a step takes one gradient from each worker that is left
  kFail = 2,    // the run ends
};

// How a gradient is handled if one of its numbers must not be applied (lib/wire/numbers.h) or its loss is not finite.
enum class OnNan : std::uint8_t {
  kFail = 0,  // the run ends
  kSkip = 1,  // it is dropped; another batch takes its place
};
// Consecutive gradients dropped from one worker after which the model counts as ruined and the run ends.
inline constexpr int kMaxSkippedInARow = 10;

inline constexpr std::int64_t kUnboundedStaleness = -1;
inline constexpr std::uint32_t kMaxReplicas = 1024;  // gradients for a synchronous step

struct Strategy {
  bool sync = false;
  std::uint32_t replicas_to_aggregate = 0;  // sync: gradients for a step, at least 1
  OnLostWorker on_lost_worker = OnLostWorker::kShrink;

  StalenessPolicy staleness = StalenessPolicy::kKeep;
  std::int64_t drop_above = 0;                       // kDrop: the largest staleness that is still applied
  std::int64_t max_staleness = kUnboundedStaleness;  // batches a worker may be ahead of the slowest one
  std::int64_t warmup_steps = 0;                     // global_step until which worker 0 trains alone
  std::int64_t train_steps = 0;                      // where the run ends: no worker waits after it
  OnNan on_nan = OnNan::kFail;

  // Whether ps 0 decides each push and each turn. If not, the only ps applies a push when it arrives. With several ps
  // tasks, a push must be complete on all of them before any of them may apply it.
  bool ordered(std::size_t num_ps) const {
    return num_ps > 1 || sync || staleness != StalenessPolicy::kKeep || max_staleness != kUnboundedStaleness ||
           on_nan == OnNan::kSkip;
  }

  bool operator==(const Strategy&) const = default;
};

}  // namespace distmnist
