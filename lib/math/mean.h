// Mean: the first of several arrays, to which the others are added in a fixed order, divided by their number. Every
// float is computed independently: pieces of arrays, of any size and on any processor, get the same bits as the whole.
#pragma once

#include <span>

namespace distmnist {

// sum[i] += addend[i]; both have the same length and do not overlap.
void add_f32(std::span<const float> addend, std::span<float> sum);

// sum[i] /= count
void divide(std::span<float> sum, float count);

}  // namespace distmnist
