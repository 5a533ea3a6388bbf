// ResidentTraining for executors whose device is the host: their own train_step() and the update of lib/optim, one step
// after the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/backend.h"

namespace distmnist {

// run() returns when the steps are done. Not for executors of which other threads read the parameters meanwhile.
class HostResidentTraining : public ResidentTraining {
 public:
  // `executor` is the one that this is a part of: it outlives it, and was compiled for `graph`.
  HostResidentTraining(Executor& executor, const Graph& graph);

  bool keep_samples(const SampleBytes& samples) override;  // Always true: there is memory, or bad_alloc.
  void start(const OptimizerSpec& optimizer, std::int64_t global_step,
             std::span<const std::span<const float>> slots) override;
  void run(const ResidentSteps& steps) override;
  StepResult last_step() override { return last_; }
  void read_slot(std::size_t slot, std::span<float> values) const override;

 private:
  void step(std::span<const std::int32_t> samples, std::uint64_t first_sample);
  void update();

  Executor& executor_;
  std::int64_t image_size_, classes_, num_parameters_;
  std::vector<std::uint8_t> pixels_;  // [count, image_size]
  std::vector<std::uint8_t> labels_;  // [count]
  OptimizerSpec optimizer_;
  std::int64_t global_step_ = 0;
  std::vector<float> parameters_;           // [num_parameters], on their way to and from the executor
  std::vector<std::vector<float>> slots_;   // [slot][num_parameters]
  std::vector<float> batch_images_;         // [batch, image_size]
  std::vector<std::uint8_t> batch_labels_;  // [batch]
  StepResult last_;
};

}  // namespace distmnist
