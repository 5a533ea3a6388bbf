// Layers that treat each number by itself, and changes of layout and shape.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"

namespace distmnist::cpu {

// Sets `gradient` to zero where `output`, a relu's, is not above zero. Both in one layout.
void relu_backward(const dnnl::memory& output, const dnnl::memory& gradient);

// Input and output in one layout, any. Layer `index` of the graph.
std::unique_ptr<Kernel> make_relu(const Device& device, std::size_t index, const Tensor& input, const Tensor& output);

// Input and output in plain layout, so that the mask does not depend on oneDNN's choice of layouts.
std::unique_ptr<Kernel> make_dropout(const Dropout& layer, const CompileOptions& options, const Tensor& input,
                                     const Tensor& output);

// The same numbers in another layout.
std::unique_ptr<Kernel> make_layout_change(const Device& device, const Tensor& input, const Tensor& output);

// The same plain numbers in another shape: the output's value is the input's own memory. The gradients share theirs
// already.
std::unique_ptr<Kernel> make_view(const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
