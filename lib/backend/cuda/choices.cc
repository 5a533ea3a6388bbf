#include "lib/backend/cuda/choices.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "lib/backend/cuda/check.h"

namespace distmnist::cuda {
namespace {

template <typename T>
std::vector<T> download(const void* data, std::int64_t count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  check(cudaMemcpy(out.data(), data, out.size() * sizeof(T), cudaMemcpyDeviceToHost), "copy choices to the host");
  return out;
}

std::vector<std::uint8_t> reordered(const TensorView& y, const std::vector<std::uint8_t>& bytes) {
  if (y.layout == Layout::kNchw) return bytes;
  std::vector<std::uint8_t> out;
  out.reserve(bytes.size());
  const std::int64_t pixels = std::int64_t{y.height} * y.width;
  for (std::int64_t n = 0; n < y.batch; ++n) {
    for (std::int64_t c = 0; c < y.channels; ++c) {
      for (std::int64_t i = 0; i < pixels; ++i) {
        out.push_back(bytes[static_cast<std::size_t>((n * pixels + i) * y.channels + c)]);
      }
    }
  }
  return out;
}

}  // namespace

std::vector<std::uint8_t> passed_by_relu(const TensorView& y) {
  std::vector<std::uint8_t> passed;
  if (y.type == NumberType::kF32) {
    for (const float value : download<float>(y.data, y.size())) passed.push_back(value > 0);
  } else {
    for (const __nv_bfloat16 value : download<__nv_bfloat16>(y.data, y.size())) {
      passed.push_back(__bfloat162float(value) > 0);
    }
  }
  return reordered(y, passed);
}

std::vector<std::uint8_t> in_chw_order(const TensorView& y, const std::uint8_t* bytes) {
  return reordered(y, download<std::uint8_t>(bytes, y.size()));
}

}  // namespace distmnist::cuda
