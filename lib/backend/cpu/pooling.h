// Pooling: max and average pooling with oneDNN.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"

namespace distmnist::cpu {

// The primitive descriptor of a pooling layer for an input in the given layout; its dst_desc() is the output's layout.
// `algorithm` is pooling_max or an average; windows are never padded.
dnnl::pooling_forward::primitive_desc pooling_descriptor(const Device& device, dnnl::algorithm algorithm,
                                                         const Window& window, const dnnl::memory::desc& input,
                                                         const dnnl::memory::dims& output);

// `input` and `output` must have the layouts of `descriptor`. `index` is the layer's index in the graph.
std::unique_ptr<Kernel> make_pooling(const Device& device, dnnl::algorithm algorithm, const Window& window,
                                     std::size_t index, const dnnl::pooling_forward::primitive_desc& descriptor,
                                     const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
