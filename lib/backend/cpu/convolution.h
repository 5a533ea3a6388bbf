// Convolution: oneDNN's convolution with activation, in the layouts that oneDNN prefers on this processor.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// The primitive descriptor of the forward pass; its src_desc() and dst_desc() are the layouts of input and output.
dnnl::convolution_forward::primitive_desc convolution_descriptor(const Device& device, const Conv2d& layer,
                                                                 std::int64_t batch);

// `input` and `output` must have the layouts of `descriptor`. Packed copies of the weights are refreshed after the
// weights change. `index` is the layer's index in the graph.
std::unique_ptr<Kernel> make_convolution(const Device& device, const Conv2d& layer, std::size_t index,
                                         Parameters& parameters,
                                         const dnnl::convolution_forward::primitive_desc& descriptor,
                                         const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
