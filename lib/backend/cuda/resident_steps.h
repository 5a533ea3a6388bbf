// ResidentSteps: training steps of one replica that run without the host.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/cuda/replica.h"
#include "lib/optim/optimizer.h"

namespace distmnist::cuda {

// Steps in one upload: their samples and scalars go to the device together.
inline constexpr std::int64_t kMaxQueuedSteps = 128;

// What the steps of one replica have to themselves: samples, slots, the queue, the captured step. One thread calls it.
class ReplicaSteps {
 public:
  explicit ReplicaSteps(Replica& replica) : replica_(replica) {}
  ~ReplicaSteps() { replica_.wait_quietly(); }

  // Error (kResources) where they do not fit.
  void keep_samples(const SampleBytes& samples);
  void start(const OptimizerSpec& optimizer, std::span<const std::span<const float>> slots);
  void read_slot(std::size_t slot, std::span<float> values) const;

  // Enqueues the upload of up to kMaxQueuedSteps steps: samples [steps, part], which may be empty, scalars [steps].
  // Waits until the upload before the last one is done.
  void queue(std::span<const std::int32_t> samples, std::span<const StepScalars> scalars);

  // The next queued step, of `part` samples that are divided by `divisor`: the whole step, or its two halves, between
  // which gradients are summed over replicas; `part` may be 0 then, where the batch has none for this one.
  void run_step(std::int64_t part, std::int64_t divisor);
  void run_gradients(std::int64_t part, std::int64_t divisor);
  void run_update();
  // Nodes of what has been captured last.
  std::int64_t launches() const { return step_.nodes + gradients_.nodes + update_.nodes; }

 private:
  // A captured sequence and what it was captured for.
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

  // Pinned memory of an upload; free again when `uploaded` has come.
  struct Upload {
    PinnedArray<std::int32_t> samples;
    PinnedArray<StepScalars> scalars;
    Event uploaded;
  };

  Replica& replica_;
  OptimizerSpec optimizer_;
  DeviceArray<std::uint8_t> pixels_, labels_;
  std::array<DeviceArray<float>, 2> slots_;
  DeviceArray<std::int32_t> queued_samples_;  // [kMaxQueuedSteps, max part]
  DeviceArray<StepScalars> queued_scalars_;   // [kMaxQueuedSteps]
  DeviceArray<std::uint32_t> cursor_;
  std::array<Upload, 2> uploads_;
  std::size_t next_upload_ = 0;
  std::int64_t next_step_ = 0;  // of the queue
  std::uint64_t warm_plan_ = 0;
  Captured step_, gradients_, update_;
};

}  // namespace distmnist::cuda
