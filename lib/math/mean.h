// The mean of several arrays, in a fixed order of summation.
#pragma once

#include <span>
#include <vector>

namespace distmnist {

// first[i] = (first[i] + others[0][i] + others[1][i] + ...) / (1 + others.size()), summed in this order; all arrays are
// equally long. Every float is on its own: pieces of an array, in any sizes, get the same bits as the whole.
void mean_into_first(std::span<float> first, const std::vector<std::span<const float>>& others);

}  // namespace distmnist
