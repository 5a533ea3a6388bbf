// Update rules: the optimizers' rules as loops over plain arrays. optimizer.h has the formulas.
#pragma once

#include <cstddef>

#include "lib/optim/optimizer.h"

namespace distmnist {

// The arrays of one update, each with `size` floats. `updated` may be `gradient` or `parameters`, index for index.
struct UpdateArrays {
  float* parameters;
  float* first_slot;   // in the order of slot_names(); null if there is none
  float* second_slot;  // null if there are fewer than two
  const float* gradient;
  float* updated;
  std::size_t size;
};

// `rate` is the result of update_rate(). The spec's own learning rate is ignored.
using UpdateRule = void (*)(const UpdateArrays& arrays, const OptimizerSpec& spec, float rate);

// The rule for spec.kind, with the instructions of this processor, and with those that every processor has. Both
// compute the same bits.
UpdateRule update_rule(const OptimizerSpec& spec);
UpdateRule portable_update_rule(const OptimizerSpec& spec);

}  // namespace distmnist
