// Strategy: how the workers of a run keep step: which pushes count, and when a worker may go on. docs/semantics.md is
// the specification. The chief's creation brings it to every ps.
#pragma once

#include <cstdint>

namespace distmnist {

// What becomes of a push whose parameters are old (asynchronous runs).
enum class StalenessPolicy : std::uint8_t {
  kKeep = 0,   // applied like any other
  kDrop = 1,   // refused where its staleness is above drop_above
  kScale = 2,  // applied with the learning rate divided by its staleness (arXiv 1511.05950)
};

// What a synchronous run does when fewer workers are left than gradients are needed for a step.
enum class OnLostWorker : std::uint8_t {
  kWait = 0,    // for a new process of the lost task; its step is not made without it
  kShrink = 1,  // a step takes one gradient from each worker that is left
  kFail = 2,    // the run ends
};

// What becomes of a gradient with a number that may not be applied (lib/wire/numbers.h), and of one whose loss is not
// finite.
enum class OnNan : std::uint8_t {
  kFail = 0,  // the run ends
  kSkip = 1,  // it is dropped; another batch takes its place
};
// Gradients of one worker, one after another, that are dropped for it: then the model itself is taken to be ruined, and
// the run ends.
inline constexpr int kMaxSkippedInARow = 10;

inline constexpr std::int64_t kUnboundedStaleness = -1;
inline constexpr std::uint32_t kMaxReplicas = 1024;  // gradients to a synchronous step

struct Strategy {
  bool sync = false;
  std::uint32_t replicas_to_aggregate = 0;  // sync: gradients to a step, at least 1
  OnLostWorker on_lost_worker = OnLostWorker::kShrink;

  StalenessPolicy staleness = StalenessPolicy::kKeep;
  std::int64_t drop_above = 0;                       // kDrop: the largest staleness that is still applied
  std::int64_t max_staleness = kUnboundedStaleness;  // batches a worker may be ahead of the slowest one
  std::int64_t warmup_steps = 0;                     // global_step until which worker 0 trains alone
  std::int64_t train_steps = 0;                      // where the run ends: nobody waits from there on
  OnNan on_nan = OnNan::kFail;

  // Whether ps 0 decides about each push and each turn, for all ps tasks. If not, every ps applies a push as it comes.
  bool ordered() const {
    return sync || staleness != StalenessPolicy::kKeep || max_staleness != kUnboundedStaleness ||
           on_nan == OnNan::kSkip;
  }

  bool operator==(const Strategy&) const = default;
};

}  // namespace distmnist
