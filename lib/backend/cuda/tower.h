// Tower: a graph on one device, with its own copy of the parameters; what an executor has one or several of.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cuda/gpu.h"
#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/layer_kernel.h"
#include "lib/backend/cuda/parameters.h"
#include "lib/backend/cuda/plan.h"

namespace distmnist::cuda {

// Sums over the samples of a step.
struct StepSums {
  double loss = 0;
  std::int64_t correct = 0;
};

// One thread at a time may call it. Its device becomes the calling thread's.
class Tower {
 public:
  // options.max_batch_size is of this tower alone; its precision must have been resolved.
  Tower(Gpu& gpu, const Graph& graph, const CompileOptions& options);
  ~Tower();

  void load(Range range, std::span<const float> values);
  void read(Range range, std::span<float> values);

  // Enqueues copies of a batch's samples from the host to the plan's input. The spans may go when it returns.
  void stage(const Batch& batch);
  // Enqueues forward pass, loss and backward pass of what is staged; the gradient is divided by `divisor` samples.
  void compute(std::int64_t batch, std::int64_t divisor, const GradientEnqueued* enqueued);
  // Gradients of a batch without samples.
  void clear_gradients();
  // Waits for the work on main; the sums of the last loss in the plan for `batch`.
  StepSums results(std::int64_t batch);

  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits);

  // For callers that enqueue their own steps.
  void make_current() const { gpu_.make_current(); }
  Gpu& gpu() const { return gpu_; }
  const Graph& graph() const { return graph_; }
  const CompileOptions& options() const { return options_; }
  // Of the plan for the largest batch; see Executor::kernels().
  const std::vector<std::string>& kernels() { return plan_for(options_.max_batch_size).names(); }
  const Streams& streams() const { return streams_; }
  Parameters& parameters() { return parameters_; }
  Plan& plan_for(std::int64_t batch);
  StepScalars* current() const { return current_.data(); }
  // main waits for parameters that were loaded, and their copies are brought up to date.
  void settle_parameters();
  // Of the device's own doing: the copies are out of date.
  void parameters_have_changed() { stale_copies_ = true; }
  void wait();  // until nothing is under way
  // The same for destructors: an error was reported earlier, or it cannot be reported any more.
  void wait_quietly() const noexcept;

 private:
  void stage_images(Plan& plan, std::span<const float> images);

  Gpu& gpu_;
  const Graph graph_;
  const CompileOptions options_;
  const Arithmetic arithmetic_;
  struct MakeCurrent {
    explicit MakeCurrent(const Gpu& gpu) { gpu.make_current(); }
  } make_current_;  // before anything is made on the device
  Streams streams_;
  Stream copies_;
  Event loaded_;
  BlasHandle blas_;
  DnnHandle dnn_;
  DeviceArray<std::uint8_t> main_workspace_, side_workspace_;
  Parameters parameters_;
  DeviceArray<StepScalars> current_;
  DeviceArray<float> images_;       // [max_batch_size, input size]
  PinnedArray<float> host_images_;  // likewise; made with the first batch, like the next ones
  PinnedArray<std::uint8_t> host_labels_;
  PinnedArray<StepScalars> host_scalars_;
  PinnedArray<float> host_losses_;
  PinnedArray<std::uint8_t> host_correct_;
  PinnedArray<float> host_parameters_;  // what is loaded goes through here
  std::vector<Range> loading_;          // parts of it whose copies may be under way
  bool stale_copies_ = true;            // of the parameters
  std::uint64_t num_plans_ = 0;         // made so far
  std::unique_ptr<Plan> full_plan_;     // for max_batch_size
  std::unique_ptr<Plan> partial_plan_;  // for the last smaller size, if any
};

}  // namespace distmnist::cuda
