// Dense: fully connected layers with the built-in matrix products.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// input [batch, in], output [batch, out], both in plain layout; `index` is the layer's index in the graph. The weights,
// [out, in], are used in place: each of the three products reads their rows directly. In resident training, the
// gradient of the weights is never written to memory: a few rows at a time update their parameters while they are in
// the cache.
std::unique_ptr<Kernel> make_dense(const OwnKernels& own, const FullyConnected& layer, std::size_t index,
                                   Parameters& parameters, const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
