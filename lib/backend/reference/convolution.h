// Convolution: plain loops, without the activation. Spans as in layers.h; their sizes give the batch.
#pragma once

#include <span>

#include "lib/graph/graph.h"

namespace distmnist::reference {

// output[n, o, y, x] = biases[o] + sum over i, ky, kx of weights[o, i, ky, kx] input[n, i, y s + ky - top, x s + kx -
// left].
void convolve(const Conv2d& layer, std::span<const float> parameters, std::span<const double> input,
              std::span<double> output);

// Writes the gradients of weights and biases to their ranges of `parameter_gradients`.
void convolve_backward_parameters(const Conv2d& layer, std::span<const double> input,
                                  std::span<const double> output_gradient, std::span<float> parameter_gradients);

void convolve_backward_input(const Conv2d& layer, std::span<const float> parameters,
                             std::span<const double> output_gradient, std::span<double> input_gradient);

}  // namespace distmnist::reference
