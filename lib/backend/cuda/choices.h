// What relu and max-pool layers have chosen, brought to the host for tests; see ExecutorProbe::choices().
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

// For each number of y, the output of a relu: 1 where it is above 0. [batch, channels, height, width]
std::vector<std::uint8_t> passed_by_relu(const TensorView& y);

// Bytes in device memory that lie in y's order, in CHW order.
std::vector<std::uint8_t> in_chw_order(const TensorView& y, const std::uint8_t* bytes);

}  // namespace distmnist::cuda
