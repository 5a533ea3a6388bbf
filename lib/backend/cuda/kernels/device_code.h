// Device code shared by the kernels: both number types and their positions, the mapping of threads to numbers, and sums
// in a fixed order. For .cu files only.
//
// Indices within one sample, and within one channel of a batch, fit in 31 bits; offsets from the start of a tensor have
// 64 bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "lib/backend/cuda/tensor_view.h"

#include "lib/backend/cuda/launch.h"

namespace distmnist::cuda {

inline constexpr int kWarp = 32;
inline constexpr int kThreads = 256;  // threads per block, unless a kernel needs a different number
// Maximum number of blocks per launch along the axes over which kernels loop.
inline constexpr std::int64_t kMaxBlocks = 65535;

// ---- number types ----

__device__ inline float to_float(float number) {
  return number;
}
__device__ inline float to_float(__nv_bfloat16 number) {
  return __bfloat162float(number);
}

template <typename Number>
__device__ inline Number from_float(float number);
template <>
__device__ inline float from_float<float>(float number) {
  return number;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float number) {
  return __float2bfloat16_rn(number);
}

// Calls action.operator()<Number>() with the C++ type for `type`.
template <typename Action>
void with_type(NumberType type, Action action) {
  if (type == NumberType::kF32) {
    action.template operator()<float>();
  } else {
    action.template operator()<__nv_bfloat16>();
  }
}
// Calls action.operator()<X, Y>().
template <typename Action>
void with_types(NumberType x, NumberType y, Action action) {
  with_type(x, [&]<typename X>() { with_type(y, [&]<typename Y>() { action.template operator()<X, Y>(); }); });
}

// A group of numbers that takes one load instruction, or a few.
template <typename Number, int kSize>
struct alignas(sizeof(Number) * kSize < 16 ? sizeof(Number) * kSize : 16) Vector {
  Number at[kSize];
};

template <int kSize, typename Number>
__device__ inline Vector<Number, kSize>& vector_at(Number* data) {
  return *reinterpret_cast<Vector<Number, kSize>*>(data);
}
template <int kSize, typename Number>
__device__ inline const Vector<Number, kSize>& vector_at(const Number* data) {
  return *reinterpret_cast<const Vector<Number, kSize>*>(data);
}

// Whether `data` is aligned for vectors; true for null.
inline bool is_aligned(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
}

// ---- tensors ----

// The position of a number in its sample.
struct Place {
  std::int32_t channel, row, column;
};

// A TensorView with a number type known at compile time.
template <typename Number>
struct Tensor {
  explicit Tensor(const TensorView& view)
      : data(static_cast<Number*>(view.data)),
        layout(view.layout),
        batch(view.batch),
        channels(view.channels),
        height(view.height),
        width(view.width),
        channel_step(layout == Layout::kNchw ? height * width : 1),
        row_step(layout == Layout::kNchw ? width : width * channels),
        column_step(layout == Layout::kNchw ? 1 : channels) {}

  __device__ std::int64_t offset(std::int32_t n, Place at) const {
    return static_cast<std::int64_t>(n) * channels * height * width +
           (at.channel * channel_step + at.row * row_step + at.column * column_step);
  }
  __device__ float get(std::int32_t n, Place at) const { return to_float(data[offset(n, at)]); }
  __device__ void set(std::int32_t n, Place at, float number) const {
    data[offset(n, at)] = from_float<Number>(number);
  }

  Number* data;
  Layout layout;
  std::int32_t batch, channels, height, width;
  std::int32_t channel_step, row_step, column_step;
};

// The position of number `index` of a sample in `order`.
template <typename Number>
__device__ inline Place place_of(std::uint32_t index, const Tensor<Number>& tensor, Layout order) {
  const std::uint32_t channels = tensor.channels, height = tensor.height, width = tensor.width;
  std::uint32_t channel, row, column;
  if (order == Layout::kNchw) {
    column = index % width;
    row = index / width % height;
    channel = index / width / height;
  } else {
    channel = index % channels;
    column = index / channels % width;
    row = index / channels / width;
  }
  return {static_cast<std::int32_t>(channel), static_cast<std::int32_t>(row), static_cast<std::int32_t>(column)};
}

// The order in which adjacent threads should visit the numbers of x and y: that of the larger one in bytes.
inline Layout common_order(const TensorView& x, const TensorView& y) {
  return x.size_bytes() > y.size_bytes() ? x.layout : y.layout;
}

// ---- threads ----

struct Spread {
  dim3 grid, block;
};

// For for_each_place(): one thread per number of a sample along x, and the samples along y.
inline Spread spread_over(const TensorView& tensor) {
  const std::int64_t sample = std::int64_t{tensor.channels} * tensor.height * tensor.width;
  const std::int64_t threads = std::clamp<std::int64_t>((sample + kWarp - 1) / kWarp * kWarp, kWarp, kThreads);
  return {dim3(static_cast<unsigned>((sample + threads - 1) / threads),
               static_cast<unsigned>(std::min<std::int64_t>(tensor.batch, kMaxBlocks))),
          dim3(static_cast<unsigned>(threads))};
}

// Calls visit(n, place) for all numbers of `tensor`, with adjacent threads along the fastest index of `order`.
template <typename Number, typename Visit>
__device__ void for_each_place(const Tensor<Number>& tensor, Layout order, Visit visit) {
  const std::uint32_t sample = tensor.channels * tensor.height * tensor.width;
  for (std::int32_t n = blockIdx.y; n < tensor.batch; n += gridDim.y) {
    for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < sample; i += gridDim.x * blockDim.x) {
      visit(n, place_of(i, tensor, order));
    }
  }
}

// For for_each_index(): one thread for each of `count` items.
inline Spread spread_over(std::int64_t count) {
  return {dim3(static_cast<unsigned>(std::clamp<std::int64_t>((count + kThreads - 1) / kThreads, 1, kMaxBlocks))),
          dim3(kThreads)};
}

// Calls visit(i) for all i below `count`.
template <typename Visit>
__device__ void for_each_index(std::int64_t count, Visit visit) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
    visit(i);
  }
}

// ---- sums ----

// The sum of `number` over the lanes of a warp, returned in every lane.
__device__ inline float warp_sum(float number) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) number += __shfl_xor_sync(0xffffffffU, number, lane);
  return number;
}

// Column sums of a matrix: each block handles kSumColumns adjacent columns, whose rows are divided among kSumRows
// threads.
inline constexpr int kSumColumns = 16, kSumRows = 32;

inline Spread spread_over_columns(std::int64_t columns) {
  return {dim3(static_cast<unsigned>((columns + kSumColumns - 1) / kSumColumns)), dim3(kSumColumns, kSumRows)};
}

// The sum of value(row) over `rows` for this thread's column. All threads of the block must call it once; the result is
// valid in threads with threadIdx.y = 0. The order of additions is fixed.
template <typename Value>
__device__ float column_sum(std::int32_t rows, Value value) {
  __shared__ float partial[kSumRows][kSumColumns];
  float sum = 0;
  for (std::int32_t row = threadIdx.y; row < rows; row += kSumRows) sum += value(row);
  partial[threadIdx.y][threadIdx.x] = sum;
  for (unsigned half = kSumRows / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) partial[threadIdx.y][threadIdx.x] += partial[threadIdx.y + half][threadIdx.x];
  }
  return partial[0][threadIdx.x];
}

}  // namespace distmnist::cuda
