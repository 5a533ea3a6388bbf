// Layers: the forward and backward pass of each layer as plain loops, for the reference backend.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"
#include "lib/graph/graph.h"

namespace distmnist::reference {

// A layer's view of one batch. All spans are row-major in [batch, channels, height, width] order.
struct Pass {
  std::int64_t batch = 0;
  std::span<const float> parameters = {};      // [num_parameters]
  std::span<const float> dropout_mask = {};    // [batch, input.size()], for a dropout layer in training; else empty
  std::span<const std::uint8_t> choices = {};  // forced ones, see LayerChoices; empty: the layer's own
};

// Computes `output` [batch, output.size()] from `input` [batch, input.size()].
void forward(const Layer& layer, const Pass& pass, std::span<const double> input, std::span<double> output);

// Takes the gradient of the loss with respect to the output. Writes the gradients of the layer's own variables to
// `parameter_gradients` [num_parameters] and, unless it is empty, `input_gradient` [batch, input.size()]. `output` must
// be the result of forward(). Overwrites `output_gradient`.
void backward(const Layer& layer, const Pass& pass, std::span<const double> input, std::span<const double> output,
              std::span<double> output_gradient, std::span<double> input_gradient,
              std::span<float> parameter_gradients);

}  // namespace distmnist::reference
