// ResidentTraining of the cpu backend: the update is a part of the step, and samples are taken from where they lie.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"
#include "lib/backend/kept_samples.h"

namespace distmnist::cpu {

class CpuExecutor;

// run() returns when the steps are done.
class CpuResidentTraining final : public ResidentTraining {
 public:
  // A part of `executor`, which was compiled for `graph`.
  CpuResidentTraining(CpuExecutor& executor, const Graph& graph) : executor_(executor), samples_(graph) {}

  bool keep_samples(const SampleBytes& samples) override;  // always true
  void start(const OptimizerSpec& optimizer, std::int64_t global_step,
             std::span<const std::span<const float>> slots) override;
  void run(const ResidentSteps& steps) override;
  StepResult last_step() override { return last_; }
  void read_slot(std::size_t slot, std::span<float> values) const override;

 private:
  CpuExecutor& executor_;
  KeptSamples samples_;
  std::int64_t global_step_ = 0;
  StepResult last_;
};

}  // namespace distmnist::cpu
