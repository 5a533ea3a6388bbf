// Fully connected: layers that use oneDNN's matrix product.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// input [batch, in], output [batch, out], both in plain layout. The weights, [out, in], are used in place, and their
// gradient is written directly to its final location. With plain layouts, the matrix product is as fast as with packed
// ones plus the packing, which the one large matrix would need in every step.
std::unique_ptr<LayerKernel> make_fully_connected(const LayerContext& context, const FullyConnected& layer,
                                                  const LayerPlace& place);

}  // namespace distmnist::cpu
