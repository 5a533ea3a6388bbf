// Dense: fully connected layers with the built-in matrix products.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// Input [batch, in], output [batch, out], both in plain layout. The weights, [out, in], are used in place: each of the
// three products reads their rows directly. In resident training with a batch of at most kProductDepth, the gradient of
// the weights is never written to memory: a few rows at a time update their parameters while they are in the cache.
std::unique_ptr<LayerKernel> make_dense(const LayerContext& context, const FullyConnected& layer,
                                        const LayerPlace& place);

}  // namespace distmnist::cpu
