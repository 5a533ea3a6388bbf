// The executor of the cpu backend.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cpu/cpu_resident_training.h"
#include "lib/backend/cpu/layer_kernel.h"
#include "lib/base/thread_pool.h"

namespace distmnist::cpu {

class Parameters;
struct Plan;

// Everything is made once for the largest batch; a smaller batch has a second set of primitives, made when it is first
// seen and kept while no other size comes.
class CpuExecutor final : public Executor, private ExecutorProbe {
 public:
  // `amx`: the kernels in tiles; null: none.
  CpuExecutor(const Graph& graph, const CompileOptions& options, const CpuOptions& cpu = {},
              const AmxKernels* amx = nullptr);
  ~CpuExecutor() override;

  void load(Range range, std::span<const float> values) override;
  bool load_bf16(Range range, std::span<const std::uint16_t> values) override;
  void read(Range range, std::span<float> values) const override;
  StepResult train_step(const Batch& batch, const GradientReady& ready) override;
  std::span<float> gradients() override;
  std::span<const std::uint16_t> round_gradients() override;
  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) override;
  std::vector<std::string> kernels() override;
  ResidentTraining* resident_training() override { return &resident_training_; }
  ExecutorProbe* probe() override { return this; }

  // A step of resident training: update number `t` is a part of it.
  StepResult resident_step(const Batch& batch, std::int64_t t);
  Parameters& parameters() { return *parameters_; }

 private:
  std::vector<LayerChoices> choices() override;
  void start_layer_times(double (*clock_s)()) override;
  std::span<const LayerTime> layer_times() const override { return layer_times_; }

  Plan& plan_for(std::int64_t batch);
  void forward(Plan& plan, const Step& step, std::span<const float> images);
  void backward(Plan& plan, const Step& step);

  StepResult step(const Batch& batch, const Step& step);
  void update();
  std::unique_ptr<Plan> make_plan_for(std::int64_t batch);

  Graph graph_;
  CompileOptions options_;
  ThreadPool pool_;  // of the built-in kernels; oneDNN's threads are OpenMP's
  BuiltinKernels builtin_;
  bool uses_builtin_;
  std::unique_ptr<Parameters> parameters_;
  std::unique_ptr<Plan> full_plan_;     // for max_batch_size
  std::unique_ptr<Plan> partial_plan_;  // for the last smaller size, if any
  Plan* last_plan_ = nullptr;           // of the last training step
  std::vector<Range> updates_;          // see Step
  CpuResidentTraining resident_training_;
  std::vector<LayerTime> layer_times_;  // per layer; empty unless requested
  double (*layer_clock_s_)() = nullptr;
};

}  // namespace distmnist::cpu
