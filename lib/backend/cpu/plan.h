// A graph compiled for one batch size: its kernels in order, with the memory between them. Layers that a built-in
// kernel fits get that one, the others oneDNN's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

struct Plan {
  struct PlacedKernel {
    std::size_t layer;  // the graph's layer it is part of
    std::unique_ptr<LayerKernel> kernel;
  };

  std::int64_t batch = 0;
  std::size_t first_trained_layer = 0;  // layers before it have no variables: the backward pass ends here
  dnnl::memory input;                   // plain; its address is given in each step
  Tensor logits;                        // [batch, classes], plain
  std::vector<PlacedKernel> kernels;    // in order of the forward pass
  std::vector<std::string> names;       // by layer; see Executor::kernels()

  SharedBuffer gradients[2];  // a layer reads the gradient of its output from one and writes its input's to the other
  SharedBuffer scratchpad;
};

// What a plan is made of; all of it outlives the plan.
struct PlanParts {
  const Graph& graph;
  const CompileOptions& options;
  Parameters& parameters;
  const BuiltinKernels& builtin;
  bool uses_builtin;  // false: products by oneDNN alone
};

// Call within the ThreadScope that the plan will run in.
std::unique_ptr<Plan> make_plan(const PlanParts& parts, std::int64_t batch);

}  // namespace distmnist::cpu
