#include "lib/backend/cpu/builtin/dense_base.h"

#include <span>

#include "lib/backend/cpu/elementwise.h"

namespace distmnist::cpu {

DenseBase::DenseBase(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place)
    : builtin_(context.builtin),
      layer_(layer),
      parameters_(context.parameters),
      input_(place.input),
      output_(place.output),
      batch_(place.batch()),
      in_(layer.input.size()),
      out_(layer.output.size()),
      index_(place.index) {}

void DenseBase::backward(const Step& step) {
  if (has_relu()) stop_at_relu();
  prepare_gradient();
  bias_backward(output_.gradient, parameters_.gradients(layer_.biases));
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

void DenseBase::add_choices(std::vector<LayerChoices>& choices) const {
  if (!has_relu()) return;
  choices.push_back(relu_choices(index_, {floats(output_.value), static_cast<std::size_t>(batch_ * out_)}));
}

void DenseBase::stop_at_relu() {
  const float* output = floats(output_.value);
  float* gradient = floats(output_.gradient);
  for (std::int64_t i = 0; i < batch_ * out_; ++i) gradient[i] = output[i] > 0.0f ? gradient[i] : 0.0f;
}

}  // namespace distmnist::cpu
