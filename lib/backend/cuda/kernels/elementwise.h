// Elementwise kernels: change each number separately, or only its position. Unless noted, x and y may differ in type
// and layout, and may be the same memory if type and layout are equal.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/kernels/batch.h"
#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

// x = act(x + bias of the channel), in place; `bias` is float32 [channels] or null.
void bias_activation(cudaStream_t stream, const TensorView& x, const float* bias, bool relu);

// dx = y > 0 ? dy : 0, where y is the output of the ReLU.
void relu_backward(cudaStream_t stream, const TensorView& y, const TensorView& dy, const TensorView& dx);

// The same in place for a flat dy [batch, channels]. Also sets sums[c] to the sum of the result over the batch
// (float32), which is the bias gradient of a fully connected layer.
void relu_backward_and_sums(cudaStream_t stream, const TensorView& y, const TensorView& dy, float* sums);
// The sums alone, without a ReLU.
void batch_sums(cudaStream_t stream, const TensorView& dy, float* sums);

// y = x times 1 / keep_prob or 0, by the rule of dropout_mask.h: number i of the batch (CHW order) is kept if
// Random::to_unit(mix64(key + (first_sample * channels * height * width + i) * Random's step)) < keep_prob. `key` is
// that of Random. The forward and backward pass use the same call.
struct DropoutRule {
  std::uint64_t seed = 0;    // mix64(options.seed) ^ options.stream
  std::uint64_t stream = 0;  // of the layer
  float keep_prob = 1;
};
struct DropoutPass {
  DropoutRule rule;
  const StepScalars* current = nullptr;  // device memory
  TensorView x, y;
};
void dropout(cudaStream_t stream, const DropoutPass& pass);

// y = x, number for number by [n, c, h, w]; the shapes may differ if one of them is flat (CHW order).
void convert(cudaStream_t stream, const TensorView& x, const TensorView& y);

// The position of a smaller image in a larger one: that of its first pixel.
struct Corner {
  std::int32_t top = 0, left = 0;
};
// to[.., top + h, left + w] = from[.., h, w], zero elsewhere; crop() does the reverse. Same type and layout.
void pad(cudaStream_t stream, const TensorView& from, Corner corner, const TensorView& to);
void crop(cudaStream_t stream, const TensorView& from, Corner corner, const TensorView& to);

// Filters [out, in, height, width], and what they are converted to: numbers of `type` in the order of `layout` (kNhwc:
// [out, height, width, in]).
struct FilterPacking {
  std::int32_t out = 0, in = 0, height = 0, width = 0;
  Layout layout = Layout::kNhwc;
  NumberType type = NumberType::kF32;
};
// Converts float32 filters to their packed form, and back.
void pack_filters(cudaStream_t stream, const float* canonical, const FilterPacking& packing, void* packed);
void unpack_filters(cudaStream_t stream, const void* packed, const FilterPacking& packing, float* canonical);

// to[i] = from[i] in bfloat16, rounded to nearest even; both have `size` numbers.
void to_bf16(cudaStream_t stream, const float* from, std::int64_t size, void* to);

// into[i] += from[i]
void add(cudaStream_t stream, const float* from, std::int64_t size, float* into);

}  // namespace distmnist::cuda
