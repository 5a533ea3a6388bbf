// Kernels that change each number on its own, or only where it lies. x and y may differ in type and layout unless it
// says otherwise, and may be the same memory where type and layout are the same.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/kernels/batch.h"
#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

// x = act(x + bias of the channel), in place; `bias` float32 [channels] or null.
void bias_activation(cudaStream_t stream, const TensorView& x, const float* bias, bool relu);

// dx = y > 0 ? dy : 0, where y is the output of the relu.
void relu_backward(cudaStream_t stream, const TensorView& y, const TensorView& dy, const TensorView& dx);

// The same in place for a flat dy [batch, channels], and sums[c] = the sum of the result over the batch (float32): a
// fully connected layer's bias gradient. relu = false: dy is left as it is.
void relu_backward_and_sums(cudaStream_t stream, const TensorView& y, bool relu, const TensorView& dy, float* sums);

// y = x times 1 / keep_prob or 0, by the rule of dropout_mask.h: number i of the batch (CHW order) is kept if
// Random::to_unit(mix64(key + (first_sample * channels * height * width + i) * Random's step)) < keep_prob. `key` is
// the Random's own. Forward and backward pass are the same call. current: device memory.
struct DropoutRule {
  std::uint64_t seed = 0;    // mix64(options.seed) ^ options.stream
  std::uint64_t stream = 0;  // the layer's
  float keep_prob = 1;
};
void dropout(cudaStream_t stream, const DropoutRule& rule, const StepScalars* current, const TensorView& x,
             const TensorView& y);

// y = x, number for number by [n, c, h, w]; shapes may differ where one of them is flat (CHW order).
void convert(cudaStream_t stream, const TensorView& x, const TensorView& y);

// to[.., top + h, left + w] = from[.., h, w], zero elsewhere; and the other way round. Same type and layout.
void pad(cudaStream_t stream, const TensorView& from, int top, int left, const TensorView& to);
void crop(cudaStream_t stream, const TensorView& from, int top, int left, const TensorView& to);

// Filters [out, in, height, width] float32 to `type` in the order of `packed` (kNhwc: [out, height, width, in]), and
// back from it to float32.
struct FilterShape {
  std::int32_t out = 0, in = 0, height = 0, width = 0;
  Layout packed = Layout::kNhwc;
};
void pack_filters(cudaStream_t stream, const float* canonical, const FilterShape& shape, NumberType type, void* packed);
void unpack_filters(cudaStream_t stream, const void* packed, const FilterShape& shape, NumberType type,
                    float* canonical);

// to[i] = from[i] in bfloat16, rounded to nearest even; both of `size` numbers.
void to_bf16(cudaStream_t stream, const float* from, std::int64_t size, void* to);

// into[i] += from[i]
void add(cudaStream_t stream, const float* from, std::int64_t size, float* into);

}  // namespace distmnist::cuda
