#include "lib/backend/cpu/dense_kernel.h"

#include <algorithm>
#include <span>

namespace distmnist::cpu {

DenseKernel::DenseKernel(const OwnKernels& own, const FullyConnected& layer, std::size_t index, Parameters& parameters,
                         const Tensor& input, const Tensor& output)
    : own_(own),
      layer_(layer),
      parameters_(parameters),
      input_(input),
      output_(output),
      batch_(dims_of(output.layout())[0]),
      in_(layer.input.size()),
      out_(layer.output.size()),
      index_(index) {}

void DenseKernel::backward(const Step& step) {
  if (has_relu()) stop_at_relu();
  prepare_gradient();
  backward_biases();
  const bool updates = step.resident() && can_update();
  if (updates) {
    if (input_.needs_gradient()) backward_data();  // Before the weights change.
    update_weights();
    step.report(layer_.biases);
    return;
  }
  backward_weights();
  step.report(layer_.weights);
  step.report(layer_.biases);
  if (input_.needs_gradient()) backward_data();
}

void DenseKernel::add_choices(std::vector<LayerChoices>& choices) const {
  if (!has_relu()) return;
  choices.push_back(relu_choices(index_, {floats(output_.value), static_cast<std::size_t>(batch_ * out_)}));
}

void DenseKernel::stop_at_relu() {
  const float* output = floats(output_.value);
  float* gradient = floats(output_.gradient);
  for (std::int64_t i = 0; i < batch_ * out_; ++i) gradient[i] = output[i] > 0.0f ? gradient[i] : 0.0f;
}

void DenseKernel::backward_biases() {
  const std::span<float> sums = parameters_.gradients(layer_.biases);
  const float* row = floats(output_.gradient);
  std::ranges::fill(sums, 0.0f);
  for (std::int64_t n = 0; n < batch_; ++n, row += out_) {
    for (std::int64_t o = 0; o < out_; ++o) sums[static_cast<std::size_t>(o)] += row[o];
  }
}

}  // namespace distmnist::cpu
