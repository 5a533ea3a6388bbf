#include "lib/optim/optimizer.h"

#include <cassert>
#include <cmath>

#include "lib/base/error.h"
#include "lib/math/simd.h"

namespace distmnist {
namespace {

// The arrays of one update, all `size` floats long; `updated` may be `gradient` or `parameters`, index for index.
struct Arrays {
  float* parameters;
  float* first_slot;   // momentum or m; null for sgd
  float* second_slot;  // v; null except for adam
  const float* gradient;
  float* updated;
  std::size_t size;
};

struct AdamFactors {
  float step;  // lr sqrt(1 - beta2^t) / (1 - beta1^t)
  float one_minus_beta1;
  float one_minus_beta2;
  float epsilon;
};

// The three loops. This file is compiled without contraction to fused multiply-add, so every version of them, vector
// body or tail, computes the same bits: shards, processors and the whole block agree.

DISTMNIST_INLINE_INTO_VERSIONS void sgd_loop(const Arrays& arrays, float learning_rate) {
  float* const p = arrays.parameters;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float new_p = p[i] - learning_rate * g[i];
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void momentum_loop(const Arrays& arrays, float learning_rate, float momentum) {
  float* const p = arrays.parameters;
  float* const accumulated = arrays.first_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float new_accumulated = momentum * accumulated[i] + g[i];
    const float new_p = p[i] - learning_rate * new_accumulated;
    accumulated[i] = new_accumulated;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_INLINE_INTO_VERSIONS void adam_loop(const Arrays& arrays, const AdamFactors& factors) {
  float* const p = arrays.parameters;
  float* const m = arrays.first_slot;
  float* const v = arrays.second_slot;
  const float* const g = arrays.gradient;
  float* const updated = arrays.updated;
  const std::size_t size = arrays.size;
  const AdamFactors f = factors;
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) {
    const float gradient = g[i];
    const float new_m = m[i] + f.one_minus_beta1 * (gradient - m[i]);
    const float new_v = v[i] + f.one_minus_beta2 * (gradient * gradient - v[i]);
    const float new_p = p[i] - f.step * new_m / (std::sqrt(new_v) + f.epsilon);
    m[i] = new_m;
    v[i] = new_v;
    p[i] = new_p;
    updated[i] = new_p;
  }
}

DISTMNIST_VERSIONS void sgd(const Arrays& arrays, float learning_rate) {
  sgd_loop(arrays, learning_rate);
}
DISTMNIST_VERSIONS void momentum(const Arrays& arrays, float learning_rate, float momentum) {
  momentum_loop(arrays, learning_rate, momentum);
}
DISTMNIST_VERSIONS void adam(const Arrays& arrays, const AdamFactors& factors) {
  adam_loop(arrays, factors);
}

// Not inlined, so that no arithmetic moves out of the reach of ScopedFlushDenormals.
[[gnu::noinline]] void portable_sgd(const Arrays& arrays, float learning_rate) {
  sgd_loop(arrays, learning_rate);
}
[[gnu::noinline]] void portable_momentum(const Arrays& arrays, float learning_rate, float momentum) {
  momentum_loop(arrays, learning_rate, momentum);
}
[[gnu::noinline]] void portable_adam(const Arrays& arrays, const AdamFactors& factors) {
  adam_loop(arrays, factors);
}

// 1 - beta^t, exact to double precision where beta^t is close to 1.
double one_minus_power(float beta, std::int64_t t) {
  return -std::expm1(static_cast<double>(t) * std::log(static_cast<double>(beta)));
}

AdamFactors adam_factors(const OptimizerSpec& spec, std::int64_t t) {
  const double step = spec.learning_rate * std::sqrt(one_minus_power(spec.beta2, t)) / one_minus_power(spec.beta1, t);
  return {static_cast<float>(step), 1.0f - spec.beta1, 1.0f - spec.beta2, spec.epsilon};
}

Arrays arrays_of(std::span<float> parameters, std::span<const std::span<float>> slots, std::span<const float> gradient,
                 std::span<float> updated) {
  assert(gradient.size() == parameters.size() && updated.size() == parameters.size());
  for ([[maybe_unused]] const std::span<float> slot : slots) assert(slot.size() == parameters.size());
  return {parameters.data(),
          slots.size() > 0 ? slots[0].data() : nullptr,
          slots.size() > 1 ? slots[1].data() : nullptr,
          gradient.data(),
          updated.data(),
          parameters.size()};
}

}  // namespace

OptimizerKind parse_optimizer(std::string_view name) {
  if (name == "sgd") return OptimizerKind::kSgd;
  if (name == "momentum") return OptimizerKind::kMomentum;
  if (name == "adam") return OptimizerKind::kAdam;
  fail(ExitCode::kUsage, "unknown optimizer '{}': choose sgd, momentum or adam", name);
}

std::string_view to_string(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::kSgd:
      return "sgd";
    case OptimizerKind::kMomentum:
      return "momentum";
    case OptimizerKind::kAdam:
      return "adam";
  }
  fail(ExitCode::kInternal, "no optimizer has number {}", static_cast<int>(kind));
}

std::vector<std::string> slot_names(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::kSgd:
      return {};
    case OptimizerKind::kMomentum:
      return {"momentum"};
    case OptimizerKind::kAdam:
      return {"m", "v"};
  }
  fail(ExitCode::kInternal, "no optimizer has number {}", static_cast<int>(kind));
}

void apply_update(const OptimizerSpec& spec, std::int64_t t, std::span<float> parameters,
                  std::span<const std::span<float>> slots, std::span<const float> gradient, std::span<float> updated) {
  assert(t >= 1 && slots.size() == slot_names(spec.kind).size());
  const Arrays arrays = arrays_of(parameters, slots, gradient, updated);
  const ScopedFlushDenormals flush_denormals;
  switch (spec.kind) {
    case OptimizerKind::kSgd:
      return sgd(arrays, spec.learning_rate);
    case OptimizerKind::kMomentum:
      return momentum(arrays, spec.learning_rate, spec.momentum);
    case OptimizerKind::kAdam:
      return adam(arrays, adam_factors(spec, t));
  }
}

void apply_update_portable(const OptimizerSpec& spec, std::int64_t t, std::span<float> parameters,
                           std::span<const std::span<float>> slots, std::span<const float> gradient,
                           std::span<float> updated) {
  assert(t >= 1 && slots.size() == slot_names(spec.kind).size());
  const Arrays arrays = arrays_of(parameters, slots, gradient, updated);
  const ScopedFlushDenormals flush_denormals;
  switch (spec.kind) {
    case OptimizerKind::kSgd:
      return portable_sgd(arrays, spec.learning_rate);
    case OptimizerKind::kMomentum:
      return portable_momentum(arrays, spec.learning_rate, spec.momentum);
    case OptimizerKind::kAdam:
      return portable_adam(arrays, adam_factors(spec, t));
  }
}

}  // namespace distmnist
