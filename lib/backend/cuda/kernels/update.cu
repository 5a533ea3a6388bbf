#include "lib/backend/cuda/kernels/update.h"

#include <cassert>
#include <cmath>

#include "lib/backend/cuda/kernels/device_code.h"

namespace distmnist::cuda {
namespace {

// The rules of lib/optim/update_rules.cc, operation by operation: each computes the new parameter and slots from the
// gradient g, the rate and the old parameter and slots. The compiler fuses products and sums to multiply-adds, so the
// results match those of the host within rounding, but not bitwise.

struct Sgd {
  static constexpr int kSlots = 0;
  __device__ void operator()(float g, float rate, float& p, float&, float&) const { p = p - rate * g; }
};

struct Momentum {
  static constexpr int kSlots = 1;
  float momentum;
  __device__ void operator()(float g, float rate, float& p, float& accumulated, float&) const {
    accumulated = momentum * accumulated + g;
    p = p - rate * accumulated;
  }
};

struct Nesterov {
  static constexpr int kSlots = 1;
  float momentum;
  __device__ void operator()(float g, float rate, float& p, float& accumulated, float&) const {
    const float accumulated_rate = rate * momentum;
    accumulated = momentum * accumulated + g;
    p = p - (rate * g + accumulated_rate * accumulated);
  }
};

struct Adam {
  static constexpr int kSlots = 2;
  float one_minus_beta1, one_minus_beta2, epsilon;
  __device__ void operator()(float g, float rate, float& p, float& m, float& v) const {
    m = m + one_minus_beta1 * (g - m);
    v = v + one_minus_beta2 * (g * g - v);
    p = p - rate * m / (sqrtf(v) + epsilon);
  }
};

struct Adagrad {
  static constexpr int kSlots = 1;
  __device__ void operator()(float g, float rate, float& p, float& accumulated, float&) const {
    accumulated = accumulated + g * g;
    p = p - rate * g / sqrtf(accumulated);
  }
};

struct Rmsprop {
  static constexpr int kSlots = 2;
  float one_minus_decay, momentum, epsilon;
  __device__ void operator()(float g, float rate, float& p, float& mean_square, float& step) const {
    mean_square = mean_square + one_minus_decay * (g * g - mean_square);
    step = momentum * step + rate * g / sqrtf(mean_square + epsilon);
    p = p - step;
  }
};

// Updates kWidth adjacent floats of the blocks, starting at `first`.
template <int kWidth, typename Rule>
__device__ void update_vector(const Rule& rule, float rate, const UpdateBlocks& blocks, std::int64_t first) {
  const Vector<float, kWidth> g = vector_at<kWidth>(blocks.gradient + first);
  Vector<float, kWidth> p = vector_at<kWidth>(blocks.parameters + first);
  Vector<float, kWidth> first_slot{}, second_slot{};
  if constexpr (Rule::kSlots > 0) first_slot = vector_at<kWidth>(blocks.first_slot + first);
  if constexpr (Rule::kSlots > 1) second_slot = vector_at<kWidth>(blocks.second_slot + first);
  for (int k = 0; k < kWidth; ++k) rule(g.at[k], rate, p.at[k], first_slot.at[k], second_slot.at[k]);
  vector_at<kWidth>(blocks.parameters + first) = p;
  if constexpr (Rule::kSlots > 0) vector_at<kWidth>(blocks.first_slot + first) = first_slot;
  if constexpr (Rule::kSlots > 1) vector_at<kWidth>(blocks.second_slot + first) = second_slot;
  if (blocks.bf16_copy == nullptr) return;
  Vector<__nv_bfloat16, kWidth> rounded;
  for (int k = 0; k < kWidth; ++k) rounded.at[k] = from_float<__nv_bfloat16>(p.at[k]);
  vector_at<kWidth>(static_cast<__nv_bfloat16*>(blocks.bf16_copy) + first) = rounded;
}

// All arrays are [size], in vectors of kWidth plus the remainder. Bound: the bytes. adam reads 16 and writes 12 per
// float, and 2 for the copy, so 1.66 million floats are 50 MB, or 10 microseconds on a GPU with 5 TB/s (less if its
// cache holds them).
template <int kWidth, typename Rule>
__global__ void update_kernel(Rule rule, const StepScalars* current, UpdateBlocks blocks) {
  const float rate = current->rate;
  const std::int64_t vectors = blocks.size / kWidth;
  for_each_index(vectors + blocks.size % kWidth, [&](std::int64_t i) {
    if (i < vectors) {
      update_vector<kWidth>(rule, rate, blocks, i * kWidth);
    } else {
      update_vector<1>(rule, rate, blocks, vectors * kWidth + (i - vectors));
    }
  });
}

template <typename Rule>
void update_by(cudaStream_t stream, Rule rule, const StepScalars* current, const UpdateBlocks& blocks) {
  const bool vectors = is_aligned(blocks.parameters) && is_aligned(blocks.first_slot) &&
                       is_aligned(blocks.second_slot) && is_aligned(blocks.gradient) && is_aligned(blocks.bf16_copy);
  const Spread spread = spread_over(vectors ? blocks.size / 4 + blocks.size % 4 : blocks.size);
  launch(stream, spread.grid, spread.block, vectors ? update_kernel<4, Rule> : update_kernel<1, Rule>, rule, current,
         blocks);
}

}  // namespace

void update(cudaStream_t stream, const OptimizerSpec& spec, const StepScalars* current, const UpdateBlocks& blocks) {
  switch (spec.kind) {
    case OptimizerKind::kSgd:
      return update_by(stream, Sgd{}, current, blocks);
    case OptimizerKind::kMomentum:
      return spec.nesterov ? update_by(stream, Nesterov{spec.momentum}, current, blocks)
                           : update_by(stream, Momentum{spec.momentum}, current, blocks);
    case OptimizerKind::kAdam:
      return update_by(stream, Adam{1.0f - spec.beta1, 1.0f - spec.beta2, spec.epsilon}, current, blocks);
    case OptimizerKind::kAdagrad:
      return update_by(stream, Adagrad{}, current, blocks);
    case OptimizerKind::kRmsprop:
      return update_by(stream, Rmsprop{1.0f - spec.decay, spec.momentum, spec.epsilon}, current, blocks);
  }
  assert(!"a spec of a known optimizer");  // fault_of() rejects others, and nvcc cannot compile fail()'s format strings
}

}  // namespace distmnist::cuda
