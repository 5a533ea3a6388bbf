// CpuResidentTraining: resident training of the CPU backend. The update is part of the step, and samples are read in
// place.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"
#include "lib/backend/kept_samples.h"

namespace distmnist::cpu {

class CpuExecutor;

// run() returns when the steps are finished.
class CpuResidentTraining final : public ResidentTraining {
 public:
  // A member of `executor`, which must be compiled for `graph`.
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
