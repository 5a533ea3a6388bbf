// The stand-in for CUDA that the backend's tests run on: what a GPU would not forgive, it must not forgive.
#include <array>
#include <numeric>
#include <vector>

#include "lib/backend/cuda/launch.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/expect_error.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

// Sums 64 numbers of each block through shared memory and, at last, a warp's shuffles.
__global__ void __launch_bounds__(64) sum_blocks(const float* values, float* sums) {
  __shared__ float part[64];
  part[threadIdx.x] = values[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  if (threadIdx.x >= 32) return;
  float sum = part[threadIdx.x] + part[threadIdx.x + 32];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void half_of_a_block_waits() {
  if (threadIdx.x < 32) __syncthreads();
}

__global__ void fill(float* data, int size, float value) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < static_cast<unsigned>(size)) data[i] = value;
}

float* device_floats(std::size_t count) {
  void* data = nullptr;
  check(cudaMalloc(&data, count * sizeof(float)), "take memory");
  return static_cast<float*>(data);
}

std::vector<float> fetch(const float* data, std::size_t count) {
  std::vector<float> values(count);
  check(cudaDeviceSynchronize(), "wait");
  check(cudaMemcpy(values.data(), data, count * sizeof(float), cudaMemcpyDeviceToHost), "copy");
  return values;
}

}  // namespace

TEST_CASE("threads of a block exchange numbers through shared memory and shuffles") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    cuda_on_host::reset({.seed = seed});
    std::vector<float> values(192);
    std::iota(values.begin(), values.end(), 0.0F);
    float* data = device_floats(values.size());
    float* sums = device_floats(3);
    check(cudaMemcpy(data, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice), "copy");
    launch(nullptr, dim3(3), dim3(64), sum_blocks, data, sums);
    CHECK(fetch(sums, 3) == std::vector<float>{2016, 6112, 10208});
  }
}

TEST_CASE("a barrier that some threads never reach is a fault") {
  cuda_on_host::reset({});
  launch(nullptr, dim3(1), dim3(64), half_of_a_block_waits);
  CHECK(fails_with(ExitCode::kInternal, "32 wait at __syncthreads", [] { check(cudaDeviceSynchronize(), "wait"); }));
  CHECK(cuda_on_host::take_fault().find("32 have ended") != std::string::npos);
}
