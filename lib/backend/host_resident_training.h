// HostResidentTraining: for executors whose device is the host. Runs their own train_step() and the update of
// lib/optim, one step after the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/kept_samples.h"

namespace distmnist {

// run() returns when the steps are finished. Not for executors whose parameters other threads read meanwhile.
class HostResidentTraining : public ResidentTraining {
 public:
  // A member of `executor`, which therefore outlives it and must be compiled for `graph`.
  HostResidentTraining(Executor& executor, const Graph& graph);

  bool keep_samples(const SampleBytes& samples) override;  // always true
  void start(const OptimizerSpec& optimizer, std::int64_t global_step,
             std::span<const std::span<const float>> slots) override;
  void run(const ResidentSteps& steps) override;
  StepResult last_step() override { return last_; }
  void read_slot(std::size_t slot, std::span<float> values) const override;

 private:
  void update();

  Executor& executor_;
  std::int64_t num_parameters_;
  KeptSamples samples_;
  OptimizerSpec optimizer_;
  std::int64_t global_step_ = 0;
  std::vector<float> parameters_;          // [num_parameters], copied to and from the executor
  std::vector<std::vector<float>> slots_;  // [slot][num_parameters]
  StepResult last_;
};

}  // namespace distmnist
