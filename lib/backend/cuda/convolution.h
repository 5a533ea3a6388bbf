// Convolution: convolution layers, alone or fused with the max-pool that follows.
#pragma once

#include <memory>

#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// act(conv(input) + biases). input and output have the type and layout of the arithmetic.
std::unique_ptr<LayerKernel> make_convolution(const LayerContext& context, const Conv2d& layer,
                                              const LayerPlace& place);

// pool(act(conv(input) + biases)): bias, ReLU and pool are one kernel, which also includes the convolution for a first
// layer with few channels (kernels/direct_convolution.h). The output may have either layout.
std::unique_ptr<LayerKernel> make_pooled_convolution(const LayerContext& context, const Conv2d& layer,
                                                     const MaxPool2d& pool, const LayerPlace& place);

}  // namespace distmnist::cuda
