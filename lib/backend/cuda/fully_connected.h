// Fully connected: layers that use cuBLASLt's matrix product.
#pragma once

#include <memory>

#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// input and output are flat views [batch, channels]. The output may be float32 (logits) with bfloat16 factors; its
// gradient has the type of the factors.
std::unique_ptr<LayerKernel> make_fully_connected(const LayerContext& context, const FullyConnected& layer,
                                                  const LayerPlace& place);

}  // namespace distmnist::cuda
