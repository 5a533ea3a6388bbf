#include "lib/optim/update_rules.h"

#include <cmath>

#include "lib/base/error.h"
#include "lib/math/simd.h"

namespace distmnist {
namespace {

// The loops. This file is compiled without contraction to fused multiply-add, so every version of them, vector body or
// tail, computes the same bits: shards, processors and the whole block agree. A loop first copies the struct's members
// to local variables: the compiler cannot know that its writes do not change the struct.

DISTMNIST_INLINE_INTO_VERSIONS void sgd_loop(const UpdateArrays& arrays, const OptimizerSpec&, float rate) {
  float* const p = arrays.parameters;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float new_p = p[i] - rate * g[i];
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void momentum_loop(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  const float momentum = spec.momentum;
  float* const p = arrays.parameters;
  float* const accumulated = arrays.first_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float new_accumulated = momentum * accumulated[i] + g[i];
    const float new_p = p[i] - rate * new_accumulated;
    accumulated[i] = new_accumulated;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void nesterov_loop(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  const float momentum = spec.momentum;
  float* const p = arrays.parameters;
  float* const accumulated = arrays.first_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  const float accumulated_rate = rate * momentum;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float gradient = g[i];
    const float new_accumulated = momentum * accumulated[i] + gradient;
    const float new_p = p[i] - (rate * gradient + accumulated_rate * new_accumulated);
    accumulated[i] = new_accumulated;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void adam_loop(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  float* const p = arrays.parameters;
  float* const m = arrays.first_slot;
  float* const v = arrays.second_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  const float one_minus_beta1 = 1.0f - spec.beta1;
  const float one_minus_beta2 = 1.0f - spec.beta2;
  const float epsilon = spec.epsilon;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float gradient = g[i];
    const float new_m = m[i] + one_minus_beta1 * (gradient - m[i]);
    const float new_v = v[i] + one_minus_beta2 * (gradient * gradient - v[i]);
    const float new_p = p[i] - rate * new_m / (std::sqrt(new_v) + epsilon);
    m[i] = new_m;
    v[i] = new_v;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void adagrad_loop(const UpdateArrays& arrays, const OptimizerSpec&, float rate) {
  float* const p = arrays.parameters;
  float* const accumulated = arrays.first_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float gradient = g[i];
    const float new_accumulated = accumulated[i] + gradient * gradient;
    const float new_p = p[i] - rate * gradient / std::sqrt(new_accumulated);
    accumulated[i] = new_accumulated;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void rmsprop_loop(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  float* const p = arrays.parameters;
  float* const mean_square = arrays.first_slot;
  float* const step = arrays.second_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  const float one_minus_decay = 1.0f - spec.decay;
  const float momentum = spec.momentum;
  const float epsilon = spec.epsilon;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float gradient = g[i];
    const float new_mean_square = mean_square[i] + one_minus_decay * (gradient * gradient - mean_square[i]);
    const float new_step = momentum * step[i] + rate * gradient / std::sqrt(new_mean_square + epsilon);
    const float new_p = p[i] - new_step;
    mean_square[i] = new_mean_square;
    step[i] = new_step;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_VERSIONS void sgd(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  sgd_loop(arrays, spec, rate);
}
DISTMNIST_VERSIONS void momentum(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  momentum_loop(arrays, spec, rate);
}
DISTMNIST_VERSIONS void nesterov(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  nesterov_loop(arrays, spec, rate);
}
DISTMNIST_VERSIONS void adam(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  adam_loop(arrays, spec, rate);
}
DISTMNIST_VERSIONS void adagrad(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  adagrad_loop(arrays, spec, rate);
}
DISTMNIST_VERSIONS void rmsprop(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate) {
  rmsprop_loop(arrays, spec, rate);
}

// The loop in a version for each kind of processor, and by itself, with the instructions that every processor has.
struct Rule {
  UpdateRule versions, portable;
};

Rule rule_of(const OptimizerSpec& spec) {
  switch (spec.kind) {
    case OptimizerKind::kSgd:
      return {sgd, sgd_loop};
    case OptimizerKind::kMomentum:
      return spec.nesterov ? Rule{nesterov, nesterov_loop} : Rule{momentum, momentum_loop};
    case OptimizerKind::kAdam:
      return {adam, adam_loop};
    case OptimizerKind::kAdagrad:
      return {adagrad, adagrad_loop};
    case OptimizerKind::kRmsprop:
      return {rmsprop, rmsprop_loop};
  }
  fail(ExitCode::kInternal, "no optimizer has number {}", static_cast<int>(spec.kind));
}

}  // namespace

UpdateRule update_rule(const OptimizerSpec& spec) {
  return rule_of(spec).versions;
}

UpdateRule portable_update_rule(const OptimizerSpec& spec) {
  return rule_of(spec).portable;
}

}  // namespace distmnist
