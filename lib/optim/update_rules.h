// The optimizers' update rules as loops over plain arrays; their formulas are those of optimizer.h.
#pragma once

#include <cstddef>

#include "lib/optim/optimizer.h"

namespace distmnist {

// The arrays of one update, all `size` floats long; `updated` may be `gradient` or `parameters`, index for index.
struct UpdateArrays {
  float* parameters;
  float* first_slot;   // in the order of slot_names(); null where there is none
  float* second_slot;  // null except for adam and rmsprop
  const float* gradient;
  float* updated;
  std::size_t size;
};

// `rate` is lr, for adam lr sqrt(1 - beta2^t) / (1 - beta1^t); the spec's own learning rate is not looked at.
using UpdateRule = void (*)(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate);

// The rule of spec.kind, in the instructions of this processor, and in those that every processor has. Both compute the
// same bits.
UpdateRule update_rule(const OptimizerSpec& spec);
UpdateRule portable_update_rule(const OptimizerSpec& spec);

}  // namespace distmnist
