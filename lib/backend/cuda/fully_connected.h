// Fully connected layers.
#pragma once

#include <memory>

#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// input and output: flat views [batch, channels]. The output may be float32 (logits) where factors are bfloat16; its
// gradient has the factors' type.
std::unique_ptr<LayerKernel> make_fully_connected(const FullyConnected& layer, const LayerContext& context,
                                                  const Tensor& input, const Tensor& output);

}  // namespace distmnist::cuda
