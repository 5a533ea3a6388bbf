// Parameters: the parameters on a device, their gradients, and the copies of them that kernels need.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cuda/device_memory.h"
#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/kernels/elementwise.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// The number type and layout that a backend computes with, given its precision.
struct Arithmetic {
  NumberType type = NumberType::kF32;  // of factors and activations
  Layout layout = Layout::kNchw;       // of images between layers: tensor cores need NHWC
  bool tf32 = false;
};

// Blocks of num_parameters float32 in canonical layout: values and gradients. For bfloat16 arithmetic also a copy of
// the values in the same order, and packed filters for convolutions that cannot use the canonical ones.
class Parameters {
 public:
  Parameters(DeviceMemory& memory, const Graph& graph, const Arithmetic& arithmetic);

  float* values(Range range) const { return values_.data() + range.offset; }
  float* gradients(Range range) const { return gradients_.data() + range.offset; }
  // The values as factors: float32, or the bfloat16 copy.
  void* factors(Range range) const;
  void* bf16_copy() const { return copy_.data(); }  // null for float32 arithmetic

  // Registers a convolution that needs packed filters; returns their address.
  void* add_packed(Range weights, const FilterPacking& packing);

  // Enqueues the update of the copies after the values have changed; without_bf16: that copy is already up to date.
  void refresh(cudaStream_t stream, bool without_bf16 = false) const;

  std::int64_t size() const { return values_.size(); }

 private:
  struct PackedFilters {
    Range weights;
    FilterPacking packing;
    DeviceArray<std::uint8_t> data;
  };
  DeviceMemory& memory_;
  DeviceArray<float> values_, gradients_;
  DeviceArray<std::uint16_t> copy_;
  std::vector<PackedFilters> packed_;
};

}  // namespace distmnist::cuda
