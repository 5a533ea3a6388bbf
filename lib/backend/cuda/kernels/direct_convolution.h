// A first layer in one kernel: convolution of an image of few channels, biases, activation and the max-pool behind it.
// General convolutions are matrix products, which one input channel leaves almost empty; and what lies between
// convolution and pooling, four times the pooled output, never exists here.
//
// There is no gradient with respect to the input: nothing before a first layer asks for it. Sums are float32 in a fixed
// order, so results are the same bits each time.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/tensor_view.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// Whether these two layers, `pool` right behind `layer`, can be computed here: at most 4 input channels, filters of at
// most 5 x 5 with stride 1 and any padding, and windows of 2 x 2 with stride 2.
bool has_direct_convolution(const Conv2d& layer, const MaxPool2d& pool);

// x [batch, in, height, width], y [batch, out, pooled height, pooled width], of any types and layouts. `parameters`:
// the model's whole block, whose filters are read as they lie, OIHW in float32. `chosen` as in max_pool_forward().
void direct_convolution_forward(cudaStream_t stream, const Conv2d& layer, const float* parameters, const TensorView& x,
                                const TensorView& y, std::uint8_t* chosen);

// What direct_convolution_backward() needs beside its results, in bytes.
std::int64_t direct_convolution_workspace_bytes(const Conv2d& layer, std::int64_t batch);

// The gradients of weights and biases, written to their ranges of `gradients`, the model's whole block. x as above; dy,
// the gradient with respect to y, and chosen have y's shape and dy's order: where the activation stops a gradient,
// `chosen` says so. Two launches.
void direct_convolution_backward(cudaStream_t stream, const Conv2d& layer, const TensorView& x, const TensorView& dy,
                                 const std::uint8_t* chosen, float* workspace, float* gradients);

}  // namespace distmnist::cuda
