// Fully connected: layers that use oneDNN's matrix product.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// input [batch, in], output [batch, out], both in plain layout. The weights, [out, in], are used in place, and their
// gradient is written directly to its final location. With plain layouts, the matrix product is as fast as with packed
// ones plus the packing, which the one large matrix would need in every step. `index` is the layer's index in the
// graph.
std::unique_ptr<Kernel> make_fully_connected(const Device& device, const FullyConnected& layer, std::size_t index,
                                             Parameters& parameters, const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
