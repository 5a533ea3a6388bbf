// Softmax kernel: softmax cross-entropy, its gradient and the accuracy in one kernel.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

struct SoftmaxLoss {
  const float* logits = nullptr;         // [batch, classes]
  const std::uint8_t* labels = nullptr;  // [batch], each below classes
  std::int64_t divisor = 1;              // of the gradient: the samples of the whole step, over all towers
  TensorView gradient;                   // [batch, classes], either type: (softmax(logits) - one_hot(label)) / divisor
  float* losses = nullptr;               // [batch]: -log softmax(logits)[label]
  std::uint8_t* correct = nullptr;       // [batch]: 1 if the first largest logit is that of the label
  std::uint32_t* cursor = nullptr;       // incremented when the gradient has been computed; may be null
};

// The largest logit is subtracted first, so no finite logit overflows; logits that are not finite make the loss NaN.
// classes = gradient.channels, 2 to 256.
void softmax_cross_entropy(cudaStream_t stream, const SoftmaxLoss& loss);

}  // namespace distmnist::cuda
