// Direct convolution: a first layer in one kernel, with the convolution of an image with few channels, biases,
// activation and the max-pool after it. General convolutions are matrix products, which a single input channel leaves
// almost empty. The output of the convolution, four times as large as the pooled output, is never stored.
//
// There is no gradient with respect to the input, because there is nothing before a first layer that needs it. Sums are
// float32 in a fixed order, so results are bitwise reproducible.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/tensor_view.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// Whether `layer` followed directly by `pool` is supported: at most 4 input channels, filters of at most 5 x 5 with
// stride 1 and any padding, and windows of 2 x 2 with stride 2.
bool has_direct_convolution(const Conv2d& layer, const MaxPool2d& pool);

// x [batch, in, height, width], y [batch, out, pooled height, pooled width], of any types and layouts.
struct DirectConvolutionForward {
  TensorView x, y;
  const float* parameters = nullptr;  // the model's whole block; its filters are read in place, OIHW in float32
  std::uint8_t* chosen = nullptr;     // as in MaxPoolForward
};
void direct_convolution_forward(cudaStream_t stream, const Conv2d& layer, const DirectConvolutionForward& pass);

// The workspace size of direct_convolution_backward(), in bytes.
std::int64_t direct_convolution_workspace_bytes(const Conv2d& layer, std::int64_t batch);

// Writes the gradients of weights and biases. Two launches.
struct DirectConvolutionBackward {
  TensorView x, dy;                      // dy: the gradient with respect to y
  const std::uint8_t* chosen = nullptr;  // in the order of dy; records where the activation blocks a gradient
  float* workspace = nullptr;            // [direct_convolution_workspace_bytes()]
  float* gradients = nullptr;            // the model's whole block, of which the layer's ranges are written
};
void direct_convolution_backward(cudaStream_t stream, const Conv2d& layer, const DirectConvolutionBackward& pass);

}  // namespace distmnist::cuda
