// Batch kernels: copy a step's batch and scalars to where the step reads them.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

// What changes from step to step besides the samples. It is in device memory, so that a captured step can be replayed.
struct StepScalars {
  std::uint64_t first_sample = 0;  // as in Batch
  float rate = 0;                  // update_rate() of this step's update
  std::uint32_t unused = 0;
};

// Steps queued on the device; all pointers are to device memory.
struct StepQueue {
  const StepScalars* scalars = nullptr;   // [steps]
  const std::int32_t* samples = nullptr;  // [steps, batch]
  std::uint32_t* cursor = nullptr;        // the next step; incremented by softmax_cross_entropy()
  StepScalars* current = nullptr;         // the destination for the step's own scalars
};

// Samples stored on the device.
struct KeptSamples {
  const std::uint8_t* pixels = nullptr;  // [count, channels * height * width], CHW
  const std::uint8_t* labels = nullptr;  // [count]
};

// Where a step reads its samples.
struct StepBatch {
  TensorView input;                // [batch, channels, height, width]
  std::uint8_t* labels = nullptr;  // [batch]
};

// For step *queue.cursor, writes input[n] = pixels[samples[n]] / 255 in the input's type and layout (float division, as
// on the host), labels[n] = kept labels[samples[n]], and *queue.current.
void gather_batch(cudaStream_t stream, const KeptSamples& kept, const StepQueue& queue, const StepBatch& batch);

// Converts images, float32 [batch, channels, height, width] in CHW order, to the type and layout of input.
void stage_batch(cudaStream_t stream, const float* images, const TensorView& input);

}  // namespace distmnist::cuda
