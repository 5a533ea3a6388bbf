// Tensors: the tensors of a plan, and their memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/backend/cuda/device_memory.h"
#include "lib/backend/cuda/kernels/pooling.h"
#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// A view without data.
inline TensorView image_view(const Shape& shape, std::int32_t batch, NumberType type, Layout layout) {
  return {nullptr,
          type,
          layout,
          batch,
          static_cast<std::int32_t>(shape.channels),
          static_cast<std::int32_t>(shape.height),
          static_cast<std::int32_t>(shape.width)};
}

inline PoolWindow pool_window(const Window& window) {
  return {static_cast<std::int32_t>(window.height), static_cast<std::int32_t>(window.width),
          static_cast<std::int32_t>(window.stride)};
}

// Owns the memory of tensors; must outlive them.
class Buffers {
 public:
  // Allocates memory for `view`. `purpose` is for the error message if there is none.
  TensorView add(DeviceMemory& memory, TensorView view, const std::string& purpose) {
    arrays_.emplace_back(memory, view.size_bytes(), purpose + " for a batch of " + std::to_string(view.batch));
    view.data = arrays_.back().data();
    return view;
  }
  Tensor add_tensor(DeviceMemory& memory, const TensorView& view, bool needs_gradient, const std::string& scope) {
    Tensor tensor{.value = add(memory, view, "the activations of " + scope)};
    if (needs_gradient) tensor.gradient = add(memory, view, "the gradients of " + scope);
    return tensor;
  }

 private:
  std::vector<DeviceArray<std::uint8_t>> arrays_;
};

}  // namespace distmnist::cuda
