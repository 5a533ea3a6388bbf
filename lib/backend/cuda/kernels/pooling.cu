#include "lib/backend/cuda/kernels/pooling.h"

#include "lib/backend/cuda/kernels/device_code.h"

// All of these are bound by the bytes they move: the larger tensor once, the smaller one once.

namespace distmnist::cuda {
namespace {

// What is applied to a number before it is pooled.
struct BiasActivation {
  const float* bias;  // [channels] or null
  bool relu;
};

// Pooled numbers and their choices, [batch, channels, pooled height, pooled width].
template <typename Y>
struct PoolOutput {
  Tensor<Y> y;
  std::uint8_t* chosen;
};

// x [batch, channels, height, width]. One thread per number of the output, in the order of x, which has the most bytes.
template <typename X, typename Y>
__global__ void max_pool_forward_kernel(Tensor<X> x, BiasActivation before, PoolWindow window, PoolOutput<Y> output) {
  const Tensor<Y>& y = output.y;
  const bool relu = before.relu;
  for_each_place(y, x.layout, [&](std::int32_t n, Place at) {
    const float added = before.bias == nullptr ? 0.0f : before.bias[at.channel];
    float best = 0;
    std::int32_t choice = 0;
    for (std::int32_t row = 0; row < window.height; ++row) {
      for (std::int32_t column = 0; column < window.width; ++column) {
        const Place from{at.channel, at.row * window.stride + row, at.column * window.stride + column};
        const float sum = x.get(n, from) + added;
        const float number = relu && sum < 0 ? 0.0f : sum;
        if ((row == 0 && column == 0) || number > best) {
          best = number;
          choice = row * window.width + column;
        }
      }
    }
    y.set(n, at, best);
    // A NaN is passed on but, like zero, has no gradient.
    if (output.chosen != nullptr) {
      output.chosen[y.offset(n, at)] = relu && !(best > 0) ? kNoneChosen : static_cast<std::uint8_t>(choice);
    }
  });
}

// The windows along one axis, [begin, end), that cover position `at`.
struct Covering {
  std::int32_t begin, end;
};
__device__ inline Covering covering(std::int32_t at, std::int32_t size, std::int32_t stride, std::int32_t windows) {
  const std::int32_t first = at < size ? 0 : (at - size) / stride + 1;
  const std::int32_t last = at / stride + 1;
  return {first, last < windows ? last : windows};
}

// Calls visit(the window's place, the pixel's row in it, its column in it) for each window that covers `at`.
template <typename Dy, typename Visit>
__device__ void for_each_covering(const PoolWindow& window, const Tensor<Dy>& dy, Place at, Visit visit) {
  const Covering rows = covering(at.row, window.height, window.stride, dy.height);
  const Covering columns = covering(at.column, window.width, window.stride, dy.width);
  for (std::int32_t row = rows.begin; row < rows.end; ++row) {
    for (std::int32_t column = columns.begin; column < columns.end; ++column) {
      visit(Place{at.channel, row, column}, at.row - row * window.stride, at.column - column * window.stride);
    }
  }
}

// Shapes as above. One thread per number of dx gathers from all windows that cover it, so each number is written once.
template <typename Dy, typename Dx>
__global__ void max_pool_backward_kernel(Tensor<Dy> dy, const std::uint8_t* chosen, PoolWindow window, Tensor<Dx> dx) {
  for_each_place(dx, dx.layout, [&](std::int32_t n, Place at) {
    float sum = 0;
    for_each_covering(window, dy, at, [&](Place from, std::int32_t row, std::int32_t column) {
      const std::int64_t offset = dy.offset(n, from);
      if (chosen[offset] == row * window.width + column) sum += to_float(dy.data[offset]);
    });
    dx.set(n, at, sum);
  });
}

// Shapes as for max pooling. One thread per number of y.
template <typename X, typename Y>
__global__ void avg_pool_forward_kernel(Tensor<X> x, PoolWindow window, Tensor<Y> y) {
  for_each_place(y, x.layout, [&](std::int32_t n, Place at) {
    float sum = 0;
    for (std::int32_t row = 0; row < window.height; ++row) {
      for (std::int32_t column = 0; column < window.width; ++column) {
        sum += x.get(n, {at.channel, at.row * window.stride + row, at.column * window.stride + column});
      }
    }
    y.set(n, at, sum / static_cast<float>(window.height * window.width));
  });
}

// One thread per number of dx.
template <typename Dy, typename Dx>
__global__ void avg_pool_backward_kernel(Tensor<Dy> dy, PoolWindow window, Tensor<Dx> dx) {
  for_each_place(dx, dx.layout, [&](std::int32_t n, Place at) {
    float sum = 0;
    for_each_covering(window, dy, at, [&](Place from, std::int32_t, std::int32_t) { sum += dy.get(n, from); });
    dx.set(n, at, sum / static_cast<float>(window.height * window.width));
  });
}

// A thread that reads four numbers at once needs a quarter of the blocks for a narrow tensor; larger reads would leave
// too few.
constexpr int kSumThreads = 512;

// t [batch, channels, height, width], sums [channels]. Reads t and chosen once. A block has kChannels adjacent
// channels, which are contiguous if kChannels is above 1, and each thread has some of their pixels. Bound: the small
// number of blocks; 64 channels in bfloat16 of 50 x 7 x 7 pixels are 16 blocks with 5 loads per thread.
template <typename Number, int kChannels>
__global__ void channel_sums_kernel(Tensor<Number> t, const std::uint8_t* chosen, float* sums) {
  __shared__ float partial[kSumThreads / kWarp][kChannels];
  const std::uint32_t channel = blockIdx.x * kChannels;
  const std::uint32_t plane = t.height * t.width, pixels = t.batch * plane;
  float sum[kChannels] = {};
  for (std::uint32_t i = threadIdx.x; i < pixels; i += kSumThreads) {
    const std::uint64_t n = i / plane, pixel = i % plane;
    const std::uint64_t first =
        n * plane * t.channels + static_cast<std::uint64_t>(channel) * t.channel_step + pixel * t.column_step;
    const Vector<Number, kChannels> numbers = vector_at<kChannels>(t.data + first);
    Vector<std::uint8_t, kChannels> choices{};
    if (chosen != nullptr) choices = vector_at<kChannels>(chosen + first);
    for (int k = 0; k < kChannels; ++k) sum[k] += choices.at[k] == kNoneChosen ? 0.0f : to_float(numbers.at[k]);
  }
  for (int k = 0; k < kChannels; ++k) {
    const float of_warp = warp_sum(sum[k]);
    if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp][k] = of_warp;
  }
  __syncthreads();
  if (threadIdx.x < kChannels) {
    float total = 0;
    for (int warp = 0; warp < kSumThreads / kWarp; ++warp) total += partial[warp][threadIdx.x];
    sums[channel + threadIdx.x] = total;
  }
}

}  // namespace

void max_pool_forward(cudaStream_t stream, const MaxPoolForward& pool) {
  const Spread spread = spread_over(pool.y);
  with_types(pool.x.type, pool.y.type, [&]<typename X, typename Y>() {
    const PoolOutput<Y> output{Tensor<Y>(pool.y), pool.chosen};
    launch(stream, spread.grid, spread.block, max_pool_forward_kernel<X, Y>, Tensor<X>(pool.x),
           BiasActivation{pool.bias, pool.relu}, pool.window, output);
  });
}

void max_pool_backward(cudaStream_t stream, const MaxPoolBackward& pool) {
  const Spread spread = spread_over(pool.dx);
  with_types(pool.dy.type, pool.dx.type, [&]<typename Dy, typename Dx>() {
    launch(stream, spread.grid, spread.block, max_pool_backward_kernel<Dy, Dx>, Tensor<Dy>(pool.dy), pool.chosen,
           pool.window, Tensor<Dx>(pool.dx));
  });
}

void avg_pool_forward(cudaStream_t stream, const TensorView& x, const PoolWindow& window, const TensorView& y) {
  const Spread spread = spread_over(y);
  with_types(x.type, y.type, [&]<typename X, typename Y>() {
    launch(stream, spread.grid, spread.block, avg_pool_forward_kernel<X, Y>, Tensor<X>(x), window, Tensor<Y>(y));
  });
}

void avg_pool_backward(cudaStream_t stream, const TensorView& dy, const PoolWindow& window, const TensorView& dx) {
  const Spread spread = spread_over(dx);
  with_types(dy.type, dx.type, [&]<typename Dy, typename Dx>() {
    launch(stream, spread.grid, spread.block, avg_pool_backward_kernel<Dy, Dx>, Tensor<Dy>(dy), window, Tensor<Dx>(dx));
  });
}

void channel_sums(cudaStream_t stream, const TensorView& t, const std::uint8_t* chosen, float* sums) {
  const bool together = t.layout == Layout::kNhwc && t.channels % 4 == 0 && is_aligned(t.data) && is_aligned(chosen);
  with_type(t.type, [&]<typename Number>() {
    launch(stream, dim3(static_cast<unsigned>(together ? t.channels / 4 : t.channels)), dim3(kSumThreads),
           together ? channel_sums_kernel<Number, 4> : channel_sums_kernel<Number, 1>, Tensor<Number>(t), chosen, sums);
  });
}

}  // namespace distmnist::cuda
