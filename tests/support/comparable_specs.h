// Optimizers for tests that compare updates which were computed in different ways.
#pragma once

#include <vector>

#include "lib/optim/optimizer.h"

namespace distmnist {

// The defaults of the kind, with constants that use every term of its rule.
inline OptimizerSpec comparable_spec(OptimizerKind kind) {
  OptimizerSpec spec = default_optimizer(kind);
  spec.learning_rate = 0.01f;
  spec.learning_rate.schedule = LearningRateSchedule::kExponential;  // makes the update number matter
  spec.learning_rate.decay_steps = 2;
  spec.learning_rate.decay_rate = 0.5f;
  spec.momentum = 0.7f;  // rmsprop's default is 0
  // If the square of a gradient is almost zero, its sign alone decides the direction of a full step. That case is not
  // compared.
  spec.epsilon = 1e-3f;
  return spec;
}

// One spec for each rule: those of all kinds, and momentum with Nesterov's rule.
inline std::vector<OptimizerSpec> comparable_specs() {
  std::vector<OptimizerSpec> specs;
  for (const OptimizerKind kind : all_optimizers()) specs.push_back(comparable_spec(kind));
  specs.push_back(comparable_spec(OptimizerKind::kMomentum));
  specs.back().nesterov = true;
  return specs;
}

}  // namespace distmnist
