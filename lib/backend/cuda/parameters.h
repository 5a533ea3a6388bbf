// The parameters on a device, their gradients, and the copies of them that kernels want.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cuda/device_memory.h"
#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/kernels/elementwise.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// What a backend computes with, by its precision.
struct Arithmetic {
  NumberType type = NumberType::kF32;  // of factors and of what is between layers
  Layout layout = Layout::kNchw;       // of images between layers: tensor cores want NHWC
  bool tf32 = false;
};

// Blocks of num_parameters float32 in canonical layout: values and gradients. In bfloat16 arithmetic a copy of the
// values in the same order, too; and, packed, the filters of convolutions that canonical ones do not serve.
class Parameters {
 public:
  Parameters(DeviceMemory& memory, const Graph& graph, const Arithmetic& arithmetic);

  float* values(Range range) const { return values_.data() + range.offset; }
  float* gradients(Range range) const { return gradients_.data() + range.offset; }
  // The values as factors: float32, or the copy in bfloat16.
  void* factors(Range range) const;
  void* bf16_copy() const { return copy_.data(); }  // null in float32 arithmetic

  // Registers a convolution whose filters are to be packed; the address of the packed ones.
  void* add_packed(Range weights, const FilterShape& shape);

  // Enqueues what brings the copies up to date after the values have changed; without_bf16: that copy is fresh already.
  void refresh(cudaStream_t stream, bool without_bf16 = false) const;

  std::int64_t size() const { return values_.size(); }

 private:
  struct PackedFilters {
    Range weights;
    FilterShape shape;
    DeviceArray<std::uint8_t> data;
  };
  DeviceMemory& memory_;
  Arithmetic arithmetic_;
  DeviceArray<float> values_, gradients_;
  DeviceArray<std::uint16_t> copy_;
  std::vector<PackedFilters> packed_;
};

}  // namespace distmnist::cuda
