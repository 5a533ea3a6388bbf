// Fully connected layers by oneDNN's matrix product.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// input [batch, in], output [batch, out], both plain. The weights are used where they lie, [out, in], and their
// gradient is written where it belongs: with plain layouts the matrix product is as fast as with packed ones plus their
// packing, which for the one big matrix would be needed in every step. Layer `index` of the graph.
std::unique_ptr<Kernel> make_fully_connected(const Device& device, const FullyConnected& layer, std::size_t index,
                                             Parameters& parameters, const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
