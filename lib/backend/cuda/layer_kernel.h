// What the layers of the CUDA backend share: a tensor between two layers, the streams of a pass, the kernel interface.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/kernels/batch.h"
#include "lib/backend/cuda/parameters.h"
#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

// Two streams: `main` computes what the next layer waits for, `side` the gradients of variables beside it. Small
// batches leave most of a GPU idle, so both run at once.
class Streams {
 public:
  Streams() : main_(make_stream()), side_(make_stream()), fork_(make_event()), join_(make_event()) {}
  cudaStream_t main() const { return main_.get(); }
  cudaStream_t side() const { return side_.get(); }
  // What is enqueued on one from now on waits for what the other has now.
  void side_waits() const { wait_for(side(), main(), fork_); }
  void main_waits() const { wait_for(main(), side(), join_); }

 private:
  Stream main_, side_;
  Event fork_, join_;
};

// The numbers between two layers, and the gradient of the loss with respect to them.
struct Tensor {
  TensorView value;
  TensorView gradient = {};  // data is null where none is needed

  bool needs_gradient() const { return gradient.data != nullptr; }
};

// Called when the work that writes a variable's gradient has been enqueued on `stream`.
using GradientEnqueued = std::function<void(Range variable, cudaStream_t stream)>;

// One pass over a plan.
struct Step {
  const Streams& streams;
  bool training = false;
  const StepScalars* current = nullptr;        // device memory
  const GradientEnqueued* enqueued = nullptr;  // backward pass only; null: not needed

  void report(Range variable, cudaStream_t stream) const {
    if (enqueued != nullptr && *enqueued) (*enqueued)(variable, stream);
  }
};

// One layer, or a few that are computed together, compiled for one batch size. Knows its input and output tensors.
class LayerKernel {
 public:
  virtual ~LayerKernel() = default;
  // Enqueues on main.
  virtual void forward(const Step& step) = 0;
  // Reads the gradient of the output (and may overwrite it); writes the gradients of its variables, on side or main,
  // and reports them; and writes the gradient of the input, if there is one, on main. Follows a forward() of the same
  // step.
  virtual void backward(const Step& step) = 0;
  // What was chosen in the last forward() in training, see ExecutorProbe::choices(); nothing is under way. `layer` is
  // the last of the graph's layers that this computes.
  virtual void add_choices(std::size_t /*layer*/, std::vector<LayerChoices>& /*out*/) const {}
};

// What all layers of a plan are compiled with; all of it outlives them.
struct LayerContext {
  const CompileOptions& options;
  DeviceMemory& memory;
  Parameters& parameters;
  const Arithmetic& arithmetic;
  cublasLtHandle_t blas = nullptr;
  cudnnHandle_t dnn = nullptr;
  void* main_workspace = nullptr;  // kMatmulWorkspaceBytes each, for the products of one stream
  void* side_workspace = nullptr;
};

// The place of one layer in a plan: the tensors before and after it.
struct LayerPlace {
  Tensor input, output;
};

}  // namespace distmnist::cuda
