// TowerSteps: training steps of one tower that run without the host.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/cuda/tower.h"
#include "lib/optim/optimizer.h"

namespace distmnist::cuda {

// Maximum steps per upload: their samples and scalars are sent to the device together.
inline constexpr std::int64_t kMaxQueuedSteps = 128;

// The state of one tower's steps: samples, slots, the queue, the captured step. Not thread-safe.
class TowerSteps {
 public:
  explicit TowerSteps(Tower& tower) : tower_(tower) {}
  ~TowerSteps() { tower_.wait_quietly(); }

  // Error (kResources) if they do not fit.
  void keep_samples(const SampleBytes& samples);
  void start(const OptimizerSpec& optimizer, std::span<const std::span<const float>> slots);
  void read_slot(std::size_t slot, std::span<float> values) const;

  // Enqueues the upload of up to kMaxQueuedSteps steps: samples [steps, part], which may be empty, scalars [steps].
  // Waits until the upload before the previous one has finished.
  void queue(std::span<const std::int32_t> samples, std::span<const StepScalars> scalars);

  // Run the next queued step with `part` samples, whose gradients are divided by `divisor`: either the whole step or
  // its two halves, between which gradients are summed over towers. For the halves, `part` may be 0 if this tower
  // has no samples of the batch.
  void run_step(std::int64_t part, std::int64_t divisor);
  void run_gradients(std::int64_t part, std::int64_t divisor);
  void run_update();
  // The number of nodes in the current captures.
  std::int64_t launches() const { return step_.nodes + gradients_.nodes + update_.nodes; }

 private:
  // A captured sequence, and the plan and divisor it was captured for.
  struct Captured {
    GraphExecution graph;
    std::uint64_t plan = 0;
    std::int64_t divisor = 0;
    std::int64_t nodes = 0;
  };
  template <typename Enqueue>
  void run_captured(Captured& captured, std::int64_t part, std::int64_t divisor, Enqueue enqueue);
  void make_queue();
  void warm_up(std::int64_t part);
  void enqueue_gradients(std::int64_t part, std::int64_t divisor);
  void enqueue_update();

  // Pinned memory for an upload; can be reused after `uploaded`.
  struct Upload {
    PinnedArray<std::int32_t> samples;
    PinnedArray<StepScalars> scalars;
    Event uploaded;
  };

  Tower& tower_;
  OptimizerSpec optimizer_;
  DeviceArray<std::uint8_t> pixels_, labels_;
  std::array<DeviceArray<float>, 2> slots_;
  DeviceArray<std::int32_t> queued_samples_;  // [kMaxQueuedSteps, max part]
  DeviceArray<StepScalars> queued_scalars_;   // [kMaxQueuedSteps]
  DeviceArray<std::uint32_t> cursor_;
  std::array<Upload, 2> uploads_;
  std::size_t next_upload_ = 0;
  std::int64_t next_step_ = 0;  // in the queue
  std::uint64_t warm_plan_ = 0;
  Captured step_, gradients_, update_;
};

}  // namespace distmnist::cuda
