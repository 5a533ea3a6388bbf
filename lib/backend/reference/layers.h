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

// What forward() took and returned.
struct Activations {
  std::span<const double> input, output;
};
// The gradients of the loss.
struct Gradients {
  std::span<double> output;          // [batch, output.size()], read and then overwritten
  std::span<double> input = {};      // [batch, input.size()], written; empty if not needed
  std::span<float> parameters = {};  // [num_parameters], of which the layer's own variables are written
};

// From the gradient of the output to those of the layer's variables and of its input.
void backward(const Layer& layer, const Pass& pass, const Activations& activations, const Gradients& gradients);

}  // namespace distmnist::reference
