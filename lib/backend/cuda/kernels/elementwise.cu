#include "lib/backend/cuda/kernels/elementwise.h"

#include "lib/base/random.h"

#include "lib/backend/cuda/kernels/device_code.h"

// All of these are bound by the bytes they move, and at a batch size of 50 by their launch: 2.5 MB, the output of a
// convolution in bfloat16, take half a microsecond on a GPU with 5 TB/s. Numbers are therefore loaded one by one, and
// only saving launches would help.

namespace distmnist::cuda {
namespace {

// x [batch, channels, height, width], bias [channels]. Reads and writes x once.
template <typename Number>
__global__ void bias_activation_kernel(Tensor<Number> x, const float* bias, bool relu) {
  for_each_place(x, x.layout, [&](std::int32_t n, Place at) {
    const float sum = x.get(n, at) + (bias == nullptr ? 0.0f : bias[at.channel]);
    x.set(n, at, relu && sum < 0 ? 0.0f : sum);
  });
}

// y, dy, dx have the same shape. Moves each once.
template <typename Y, typename Dy, typename Dx>
__global__ void relu_backward_kernel(Tensor<Y> y, Tensor<Dy> dy, Tensor<Dx> dx, Layout order) {
  for_each_place(dx, order, [&](std::int32_t n, Place at) { dx.set(n, at, y.get(n, at) > 0 ? dy.get(n, at) : 0.0f); });
}

// y, dy [batch, channels], sums [channels]; y is null if there is no ReLU. Reads y and dy once and writes dy once; each
// block handles kSumColumns channels.
template <typename Y, typename Dy>
__global__ void relu_backward_and_sums_kernel(const Y* y, Tensor<Dy> dy, float* sums) {
  const std::int32_t channel = blockIdx.x * kSumColumns + threadIdx.x;
  const float sum = column_sum(channel < dy.channels ? dy.batch : 0, [&](std::int32_t n) {
    const std::int64_t i = static_cast<std::int64_t>(n) * dy.channels + channel;
    if (y == nullptr || to_float(y[i]) > 0) return to_float(dy.data[i]);
    dy.data[i] = from_float<Dy>(0.0f);
    return 0.0f;
  });
  if (threadIdx.y == 0 && channel < dy.channels) sums[channel] = sum;
}

// What decides which numbers are kept.
struct DropoutMask {
  Random random;
  float keep_prob;
  const StepScalars* current;
};

// x, y have the same shape. Moves each once; about 20 integer operations per number for the random bits.
template <typename X, typename Y>
__global__ void dropout_kernel(DropoutMask mask, Tensor<X> x, Tensor<Y> y, Layout order) {
  const std::uint64_t sample_size = static_cast<std::uint64_t>(x.channels) * x.height * x.width;
  const std::uint64_t first_sample = mask.current->first_sample;
  const float kept = 1.0f / mask.keep_prob;
  for_each_place(y, order, [&](std::int32_t n, Place at) {
    const std::uint64_t number = (at.channel * y.height + at.row) * y.width + at.column;
    const std::uint64_t bits = mask.random.at((first_sample + n) * sample_size + number);
    y.set(n, at, x.get(n, at) * (Random::to_unit(bits) < mask.keep_prob ? kept : 0.0f));
  });
}

// x, y have the same shape. Moves each once.
template <typename X, typename Y>
__global__ void convert_kernel(Tensor<X> x, Tensor<Y> y, Layout order) {
  for_each_place(y, order, [&](std::int32_t n, Place at) { y.set(n, at, x.get(n, at)); });
}

// to[h, w] = from[h - corner.top, w - corner.left], or 0 if that is outside. Writes `to` and reads `from` once.
template <typename Number>
__global__ void shift_kernel(Tensor<Number> from, Corner corner, Tensor<Number> to) {
  for_each_place(to, to.layout, [&](std::int32_t n, Place at) {
    const Place source{at.channel, at.row - corner.top, at.column - corner.left};
    const bool inside = source.row >= 0 && source.row < from.height && source.column >= 0 && source.column < from.width;
    to.set(n, at, inside ? from.get(n, source) : 0.0f);
  });
}

// from, to [size], in vectors of kWidth plus the remainder. Reads 4 bytes and writes 2 per number.
template <int kWidth>
__global__ void to_bf16_kernel(const float* from, std::int64_t size, __nv_bfloat16* to) {
  const std::int64_t vectors = size / kWidth;
  for_each_index(vectors + size % kWidth, [&](std::int64_t i) {
    if (i < vectors) {
      const Vector<float, kWidth> numbers = vector_at<kWidth>(from + i * kWidth);
      Vector<__nv_bfloat16, kWidth> rounded;
      for (int k = 0; k < kWidth; ++k) rounded.at[k] = from_float<__nv_bfloat16>(numbers.at[k]);
      vector_at<kWidth>(to + i * kWidth) = rounded;
    } else {
      const std::int64_t tail = vectors * kWidth + (i - vectors);
      to[tail] = from_float<__nv_bfloat16>(from[tail]);
    }
  });
}

// from, into [size], in vectors of kWidth plus the remainder. Reads 8 bytes and writes 4 per number.
template <int kWidth>
__global__ void add_kernel(const float* from, std::int64_t size, float* into) {
  const std::int64_t vectors = size / kWidth;
  for_each_index(vectors + size % kWidth, [&](std::int64_t i) {
    if (i < vectors) {
      const Vector<float, kWidth> numbers = vector_at<kWidth>(from + i * kWidth);
      Vector<float, kWidth> sums = vector_at<kWidth>(into + i * kWidth);
      for (int k = 0; k < kWidth; ++k) sums.at[k] += numbers.at[k];
      vector_at<kWidth>(into + i * kWidth) = sums;
    } else {
      const std::int64_t tail = vectors * kWidth + (i - vectors);
      into[tail] += from[tail];
    }
  });
}

// `flat` with the shape of `other`; `flat` holds the numbers in CHW order.
TensorView in_shape_of(const TensorView& flat, const TensorView& other) {
  if (flat.channels == other.channels) return flat;
  TensorView shaped = other;
  shaped.data = flat.data;
  shaped.type = flat.type;
  shaped.layout = Layout::kNchw;
  return shaped;
}

void shift(cudaStream_t stream, const TensorView& from, Corner corner, const TensorView& to) {
  const Spread spread = spread_over(to);
  with_type(to.type, [&]<typename Number>() {
    launch(stream, spread.grid, spread.block, shift_kernel<Number>, Tensor<Number>(from), corner, Tensor<Number>(to));
  });
}

// Filters as tensors: each filter is a sample.
TensorView canonical_view(const float* canonical, const FilterPacking& p) {
  return {const_cast<float*>(canonical), NumberType::kF32, Layout::kNchw, p.out, p.in, p.height, p.width};
}
TensorView packed_view(const void* packed, const FilterPacking& p) {
  return {const_cast<void*>(packed), p.type, p.layout, p.out, p.in, p.height, p.width};
}

void sum_gradients(cudaStream_t stream, const TensorView& y, const TensorView& dy, float* sums) {
  const Spread spread = spread_over_columns(dy.channels);
  with_types(y.type, dy.type, [&]<typename Y, typename Dy>() {
    launch(stream, spread.grid, spread.block, relu_backward_and_sums_kernel<Y, Dy>, static_cast<const Y*>(y.data),
           Tensor<Dy>(dy), sums);
  });
}

}  // namespace

void bias_activation(cudaStream_t stream, const TensorView& x, const float* bias, bool relu) {
  const Spread spread = spread_over(x);
  with_type(x.type, [&]<typename Number>() {
    launch(stream, spread.grid, spread.block, bias_activation_kernel<Number>, Tensor<Number>(x), bias, relu);
  });
}

void relu_backward(cudaStream_t stream, const TensorView& y, const TensorView& dy, const TensorView& dx) {
  const Spread spread = spread_over(dx);
  with_types(y.type, dy.type, [&]<typename Y, typename Dy>() {
    with_type(dx.type, [&]<typename Dx>() {
      launch(stream, spread.grid, spread.block, relu_backward_kernel<Y, Dy, Dx>, Tensor<Y>(y), Tensor<Dy>(dy),
             Tensor<Dx>(dx), common_order(dy, dx));
    });
  });
}

void relu_backward_and_sums(cudaStream_t stream, const TensorView& y, const TensorView& dy, float* sums) {
  sum_gradients(stream, y, dy, sums);
}

void batch_sums(cudaStream_t stream, const TensorView& dy, float* sums) {
  sum_gradients(stream, {}, dy, sums);
}

void dropout(cudaStream_t stream, const DropoutPass& pass) {
  const DropoutMask mask{Random(pass.rule.seed, pass.rule.stream), pass.rule.keep_prob, pass.current};
  const Spread spread = spread_over(pass.y);
  with_types(pass.x.type, pass.y.type, [&]<typename X, typename Y>() {
    launch(stream, spread.grid, spread.block, dropout_kernel<X, Y>, mask, Tensor<X>(pass.x), Tensor<Y>(pass.y),
           common_order(pass.x, pass.y));
  });
}

void convert(cudaStream_t stream, const TensorView& x, const TensorView& y) {
  // The flat one has neither height nor width.
  const TensorView from = x.height * x.width == 1 ? in_shape_of(x, y) : x;
  const TensorView to = in_shape_of(y, from);
  const Spread spread = spread_over(to);
  with_types(from.type, to.type, [&]<typename X, typename Y>() {
    launch(stream, spread.grid, spread.block, convert_kernel<X, Y>, Tensor<X>(from), Tensor<Y>(to),
           common_order(from, to));
  });
}

void pad(cudaStream_t stream, const TensorView& from, Corner corner, const TensorView& to) {
  shift(stream, from, corner, to);
}

void crop(cudaStream_t stream, const TensorView& from, Corner corner, const TensorView& to) {
  shift(stream, from, {-corner.top, -corner.left}, to);
}

void pack_filters(cudaStream_t stream, const float* canonical, const FilterPacking& packing, void* packed) {
  convert(stream, canonical_view(canonical, packing), packed_view(packed, packing));
}

void unpack_filters(cudaStream_t stream, const void* packed, const FilterPacking& packing, float* canonical) {
  convert(stream, packed_view(packed, packing), canonical_view(canonical, packing));
}

void to_bf16(cudaStream_t stream, const float* from, std::int64_t size, void* to) {
  const bool vectors = is_aligned(from) && is_aligned(to);
  const Spread spread = spread_over(vectors ? size / 4 + size % 4 : size);
  launch(stream, spread.grid, spread.block, vectors ? to_bf16_kernel<4> : to_bf16_kernel<1>, from, size,
         static_cast<__nv_bfloat16*>(to));
}

void add(cudaStream_t stream, const float* from, std::int64_t size, float* into) {
  const bool vectors = is_aligned(from) && is_aligned(into);
  const Spread spread = spread_over(vectors ? size / 4 + size % 4 : size);
  launch(stream, spread.grid, spread.block, vectors ? add_kernel<4> : add_kernel<1>, from, size, into);
}

}  // namespace distmnist::cuda
