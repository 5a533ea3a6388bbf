// The executor of the CUDA backend: a tower on each of its devices.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/batch_part.h"
#include "lib/backend/cuda/collective.h"
#include "lib/backend/cuda/gpu.h"
#include "lib/backend/cuda/gradient_download.h"
#include "lib/backend/cuda/resident_steps.h"
#include "lib/backend/cuda/tower.h"

namespace distmnist::cuda {

using Towers = std::vector<std::unique_ptr<Tower>>;

// What each tower computes of a batch, see part_of_tower().
std::vector<TowerPart> parts_of(std::int64_t batch_size, const Towers& towers);

class CudaResidentTraining final : public ResidentTraining {
 public:
  // Towers and collective (null for one tower) outlive it.
  CudaResidentTraining(const Towers& towers, Collective* collective);

  bool keep_samples(const SampleBytes& samples) override;
  void start(const OptimizerSpec& optimizer, std::int64_t global_step,
             std::span<const std::span<const float>> slots) override;
  void run(const ResidentSteps& steps) override;
  StepResult last_step() override;
  void read_slot(std::size_t slot, std::span<float> values) const override;
  // Kernels and copies of the last kind of step that was run.
  std::int64_t launches() const { return steps_[0]->launches(); }

 private:
  void queue(const ResidentSteps& steps, const std::vector<TowerPart>& parts);
  void run_step(const std::vector<TowerPart>& parts, std::int64_t batch_size);

  const Towers& towers_;
  Collective* collective_;
  std::vector<std::unique_ptr<TowerSteps>> steps_;  // one per tower
  OptimizerSpec optimizer_;
  std::int64_t updates_ = 0;          // enqueued so far
  std::int64_t last_batch_size_ = 0;  // of run(); 0 before
};

class CudaExecutor final : public Executor, private ExecutorProbe {
 public:
  // gpus: at least one, they outlive it; options.precision must have been resolved.
  CudaExecutor(const std::vector<Gpu*>& gpus, const Graph& graph, const CompileOptions& options);

  void load(Range range, std::span<const float> values) override;
  void read(Range range, std::span<float> values) const override;
  StepResult train_step(const Batch& batch, const GradientReady& ready) override;
  std::span<float> gradients() override;
  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) override;
  std::vector<std::string> kernels() override;
  ResidentTraining* resident_training() override;
  ExecutorProbe* probe() override { return this; }

 private:
  std::vector<LayerChoices> choices() override;
  std::int64_t launches_per_step() const override { return resident_ ? resident_->launches() : 0; }

  GradientDownload& download();

  Graph graph_;
  Towers towers_;
  std::unique_ptr<Collective> collective_;    // null for one tower
  std::optional<GradientDownload> download_;  // of the first tower; made when the host wants gradients
  std::optional<CudaResidentTraining> resident_;
  std::int64_t last_batch_size_ = 0;  // of train_step()
};

}  // namespace distmnist::cuda
