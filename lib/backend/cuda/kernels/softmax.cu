#include "lib/backend/cuda/kernels/softmax.h"

#include <cmath>

#include "lib/backend/cuda/kernels/device_code.h"

namespace distmnist::cuda {
namespace {

constexpr int kSamplesPerBlock = 4;  // one warp each

// A class and its logit.
struct Scored {
  float logit;
  std::int32_t index;
};

// The largest of the lanes' logits, and the first class that has it.
__device__ inline Scored warp_best(Scored best) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    const Scored other{__shfl_xor_sync(0xffffffffU, best.logit, lane), __shfl_xor_sync(0xffffffffU, best.index, lane)};
    if (other.logit > best.logit || (other.logit == best.logit && other.index < best.index)) best = other;
  }
  return best;
}

// logits, gradient [batch, classes]; losses, correct [batch]. One warp per sample; each lane takes every 32nd class.
// Bound: the launch and about ten dependent steps (a load, two rounds of shuffles, exp, log); 50 x 10 logits are 2 kB.
template <typename Number>
__global__ void softmax_cross_entropy_kernel(SoftmaxLoss loss, Number* gradient, std::int64_t batch,
                                             std::int32_t classes) {
  const std::int32_t lane = threadIdx.x;
  if (loss.cursor != nullptr && blockIdx.x == 0 && threadIdx.x == 0 && threadIdx.y == 0) ++*loss.cursor;
  for (std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kSamplesPerBlock + threadIdx.y; n < batch;
       n += static_cast<std::int64_t>(gridDim.x) * kSamplesPerBlock) {
    const float* const row = loss.logits + n * classes;
    const std::int32_t label = loss.labels[n];
    Scored best{-INFINITY, lane};
    for (std::int32_t c = lane; c < classes; c += kWarp) {
      if (row[c] > best.logit) best = {row[c], c};
    }
    best = warp_best(best);
    // The rows are read again rather than kept, because they are in the L1 cache.
    float sum = 0;
    for (std::int32_t c = lane; c < classes; c += kWarp) sum += expf(row[c] - best.logit);
    sum = warp_sum(sum);
    for (std::int32_t c = lane; c < classes; c += kWarp) {
      const float probability = expf(row[c] - best.logit) / sum;
      const float wanted = c == label ? 1.0f : 0.0f;
      gradient[n * classes + c] = from_float<Number>((probability - wanted) / static_cast<float>(loss.divisor));
    }
    if (lane == 0) {
      loss.losses[n] = logf(sum) - (row[label] - best.logit);
      loss.correct[n] = best.index == label ? 1 : 0;
    }
  }
}

}  // namespace

void softmax_cross_entropy(cudaStream_t stream, const SoftmaxLoss& loss) {
  const std::int64_t batch = loss.gradient.batch;
  const auto blocks = std::min<std::int64_t>((batch + kSamplesPerBlock - 1) / kSamplesPerBlock, kMaxBlocks);
  with_type(loss.gradient.type, [&]<typename Number>() {
    launch(stream, dim3(static_cast<unsigned>(blocks)), dim3(kWarp, kSamplesPerBlock),
           softmax_cross_entropy_kernel<Number>, loss, static_cast<Number*>(loss.gradient.data), batch,
           loss.gradient.channels);
  });
}

}  // namespace distmnist::cuda
