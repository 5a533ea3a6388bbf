// Elementwise: layers that process each number separately, and changes of layout and shape.
#pragma once

#include <memory>
#include <span>

#include "lib/backend/cpu/layer_kernel.h"

namespace distmnist::cpu {

// Sets `gradient` to zero where `output`, the output of a ReLU, is not above zero. Both have the same layout.
void relu_backward(const dnnl::memory& output, const dnnl::memory& gradient);

// The gradient of a fully connected layer's biases: sums the rows of `gradient`, [batch, biases] in plain layout.
void bias_backward(const dnnl::memory& gradient, std::span<float> sums);

// Input and output have the same layout, which may be any, but for dropout it must be plain, so that the mask does not
// depend on oneDNN's choice of layouts.
std::unique_ptr<LayerKernel> make_elementwise(const LayerContext& context, const ElementwiseLayer& layer,
                                              const LayerPlace& place);

// Copies the numbers to a different layout.
std::unique_ptr<LayerKernel> make_layout_change(const Device& device, const Tensor& input, const Tensor& output);

// Reinterprets plain numbers in a different shape: the output's value is the input's own memory. Their gradients
// already share memory.
std::unique_ptr<LayerKernel> make_view(const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
