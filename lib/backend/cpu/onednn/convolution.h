// Convolution: oneDNN's convolution with activation, in the layouts that oneDNN prefers on this processor.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// The primitive descriptor of the forward pass; its src_desc() and dst_desc() are the layouts of input and output.
dnnl::convolution_forward::primitive_desc convolution_descriptor(const Device& device, const Conv2d& layer,
                                                                 std::int64_t batch);

// The tensors of `place` must have the layouts of `descriptor`. Packed copies of the weights are refreshed after the
// weights change.
std::unique_ptr<LayerKernel> make_convolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
                                              const dnnl::convolution_forward::primitive_desc& descriptor);

}  // namespace distmnist::cpu
