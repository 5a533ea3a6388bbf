// Update kernel: the optimizer's update of the whole parameter block in one kernel.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/kernels/batch.h"
#include "lib/optim/optimizer.h"

namespace distmnist::cuda {

// Blocks of `size` floats in device memory, like UpdateArrays of lib/optim.
struct UpdateBlocks {
  float* parameters = nullptr;
  float* first_slot = nullptr;
  float* second_slot = nullptr;
  const float* gradient = nullptr;
  void* bf16_copy = nullptr;  // the new parameters in bfloat16; null if not needed
  std::int64_t size = 0;
};

// One update by the formulas of lib/optim/optimizer.h, with current->rate as lr; `current` is in device memory.
void update(cudaStream_t stream, const OptimizerSpec& spec, const StepScalars* current, const UpdateBlocks& blocks);

}  // namespace distmnist::cuda
