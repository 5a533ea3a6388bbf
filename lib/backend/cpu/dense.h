// Fully connected layers by our own matrix products.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// input [batch, in], output [batch, out], both plain; layer number `index` of the graph. The weights, [out, in], are
// used where they lie: each of the three products reads their rows as they are. In resident training the gradient of
// the weights never gets to memory: a few rows of it at a time update their parameters while they are in the cache.
std::unique_ptr<Kernel> make_dense(const OwnKernels& own, const FullyConnected& layer, std::size_t index,
                                   Parameters& parameters, const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
