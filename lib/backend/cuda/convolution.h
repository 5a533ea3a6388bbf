// Convolutions, alone or together with the max-pool that follows.
#pragma once

#include <memory>

#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// act(conv(input) + biases). input and output in the arithmetic's type and layout.
std::unique_ptr<LayerKernel> make_convolution(const Conv2d& layer, const LayerContext& context, const Tensor& input,
                                              const Tensor& output);

// pool(act(conv(input) + biases)): bias, relu and pool are one kernel, for a first layer of few channels with the
// convolution in it (kernels/direct_convolution.h). The output may be in either layout.
std::unique_ptr<LayerKernel> make_pooled_convolution(const Conv2d& layer, const MaxPool2d& pool,
                                                     const LayerContext& context, const Tensor& input,
                                                     const Tensor& output);

}  // namespace distmnist::cuda
