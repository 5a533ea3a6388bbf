// Initializers: initial values of a graph's variables.
#pragma once

#include <cstdint>
#include <span>

#include "lib/graph/graph.h"

namespace distmnist {

// Fills `block` (num_parameters floats): weights uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS
// 2010; TF-Slim's xavier_initializer), biases zero. A pure function of the seed and each variable's position in the
// graph.
void initialize(const Graph& graph, std::uint64_t seed, std::span<float> block);

}  // namespace distmnist
