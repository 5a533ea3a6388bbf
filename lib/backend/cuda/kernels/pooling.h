// Pooling kernels: windows are never padded, lie within the input, and may overlap. There are no atomics: every number
// is written by one thread, so results are bitwise reproducible.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

struct PoolWindow {
  std::int32_t height = 2, width = 2, stride = 2;
};

// Means "no pixel of the window": ReLU returned zero.
inline constexpr std::uint8_t kNoneChosen = 255;
// Maximum pixels per window, so that each pixel has a distinct byte.
inline constexpr std::int32_t kMaxWindowPixels = 254;

// y = max over the window of act(x + bias of the channel), act = ReLU or identity. x and y may differ in type and
// layout.
struct MaxPoolForward {
  TensorView x, y;
  PoolWindow window;
  const float* bias = nullptr;  // float32 [channels]; null if there is none
  bool relu = false;
  // [y.size(), in y's order]: row * window.width + column of the first largest pixel, or kNoneChosen if ReLU returned 0
  // everywhere; null if not needed.
  std::uint8_t* chosen = nullptr;
};
void max_pool_forward(cudaStream_t stream, const MaxPoolForward& pool);
// dx = the sum of dy over the windows that chose the pixel; writes all of dx.
struct MaxPoolBackward {
  TensorView dy, dx;
  PoolWindow window;
  const std::uint8_t* chosen = nullptr;  // in the order of dy
};
void max_pool_backward(cudaStream_t stream, const MaxPoolBackward& pool);

void avg_pool_forward(cudaStream_t stream, const TensorView& x, const PoolWindow& window, const TensorView& y);
void avg_pool_backward(cudaStream_t stream, const TensorView& dy, const PoolWindow& window, const TensorView& dx);

// sums[c] = the sum of t over batch, height and width (float32 [channels]), without the elements whose `chosen` byte is
// kNoneChosen (null: all count). This is the gradient of a convolution's biases. The order of additions is fixed.
void channel_sums(cudaStream_t stream, const TensorView& t, const std::uint8_t* chosen, float* sums);

}  // namespace distmnist::cuda
