#include "lib/backend/cuda/kernels/batch.h"

#include "lib/backend/cuda/kernels/elementwise.h"

#include "lib/backend/cuda/kernels/device_code.h"

namespace distmnist::cuda {
namespace {

// pixels [count, channels, height, width], input [batch, channels, height, width] in either layout. Bound: reads one
// byte and writes 2 or 4 per number, about 200 kB for 50 MNIST images, which takes less time than the launch.
template <typename Number>
__global__ void gather_batch_kernel(KeptSamples kept, StepQueue queue, Tensor<Number> input, std::uint8_t* labels) {
  const std::int64_t step = *queue.cursor;
  const std::int32_t* const samples = queue.samples + step * input.batch;
  const std::int64_t sample_size = static_cast<std::int64_t>(input.channels) * input.height * input.width;
  for_each_place(input, input.layout, [&](std::int32_t n, Place at) {
    const std::int64_t sample = samples[n];
    const std::uint8_t byte =
        kept.pixels[sample * sample_size + (at.channel * input.height + at.row) * input.width + at.column];
    input.set(n, at, static_cast<float>(byte) / 255.0f);
    if (at.channel == 0 && at.row == 0 && at.column == 0) {
      labels[n] = kept.labels[sample];
      if (n == 0) *queue.current = queue.scalars[step];
    }
  });
}

}  // namespace

void gather_batch(cudaStream_t stream, const KeptSamples& kept, const StepQueue& queue, const StepBatch& batch) {
  const Spread spread = spread_over(batch.input);
  with_type(batch.input.type, [&]<typename Number>() {
    launch(stream, spread.grid, spread.block, gather_batch_kernel<Number>, kept, queue, Tensor<Number>(batch.input),
           batch.labels);
  });
}

void stage_batch(cudaStream_t stream, const float* images, const TensorView& input) {
  TensorView from = input;
  from.data = const_cast<float*>(images);  // only read; convert() takes views that are not const
  from.type = NumberType::kF32;
  from.layout = Layout::kNchw;
  convert(stream, from, input);
}

}  // namespace distmnist::cuda
