// Tests the stand-in for CUDA: the threads of a kernel and their communication.
#include <numeric>
#include <string>
#include <vector>

#include "lib/backend/cuda/launch.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/device_array.h"
#include "tests/support/cuda_on_host/seeds.h"
#include "tests/support/expect_error.h"

using namespace distmnist;
using namespace distmnist::cuda;
using cuda_on_host::count_seeds;
using cuda_on_host::DeviceArray;
using cuda_on_host::kSeeds;

namespace {

// Sums 64 numbers of each block through shared memory and finally a warp's shuffles.
__global__ void __launch_bounds__(64) sum_blocks(const float* values, float* sums, bool with_barrier) {
  __shared__ float part[64];
  part[threadIdx.x] = values[blockIdx.x * blockDim.x + threadIdx.x];
  if (with_barrier) __syncthreads();
  if (threadIdx.x >= 32) return;
  float sum = part[threadIdx.x] + part[threadIdx.x + 32];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void half_of_a_block_waits() {
  if (threadIdx.x < 32) __syncthreads();
}

__global__ void half_of_a_warp_waits() {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

// What each lane gets from other lanes by the different warp calls: [8, 32].
__global__ void exchange(int* seen) {
  const int lane = static_cast<int>(threadIdx.x);
  const int value = 100 + lane;
  seen[lane] = __shfl_xor_sync(0xffffffffu, value, 5);
  seen[32 + lane] = __shfl_sync(0xffffffffu, value, 7);
  seen[64 + lane] = __shfl_sync(0xffffffffu, value, 1, 8);
  seen[96 + lane] = __shfl_down_sync(0xffffffffu, value, 30);
  seen[128 + lane] = __shfl_up_sync(0xffffffffu, value, 2);
  seen[160 + lane] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 2));
  seen[192 + lane] = __any_sync(0xffffffffu, lane == 31);
  // The two halves of the warp make separate calls.
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  seen[224 + lane] = __shfl_xor_sync(half, value, 1);
}

__global__ void place(unsigned* places) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  atomicAdd(&places[block * 24 + thread], 1U);
}

std::uint64_t count_right_sums(bool with_barrier) {
  return count_seeds([&] {
    std::vector<float> values(192);
    std::iota(values.begin(), values.end(), 0.0F);
    const DeviceArray<float> data(values), sums(3);
    launch(nullptr, dim3(3), dim3(64), sum_blocks, data.data(), sums.data(), with_barrier);
    return sums.fetch() == std::vector<float>{2016, 6112, 10208};
  });
}

}  // namespace

TEST_CASE("threads of a block exchange numbers through shared memory and shuffles") {
  CHECK(count_right_sums(true) == kSeeds);
}

TEST_CASE("a kernel without a required barrier is detected") {
  CHECK(count_right_sums(false) < kSeeds);
}

TEST_CASE("every thread of every block runs once, with its indices") {
  cuda_on_host::reset({});
  const DeviceArray<unsigned> places(std::vector<unsigned>(30 * 24, 0));
  launch(nullptr, dim3(5, 3, 2), dim3(4, 3, 2), place, places.data());
  CHECK(places.fetch() == std::vector<unsigned>(30 * 24, 1));
}

TEST_CASE("lanes of a warp see each other's numbers") {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    cuda_on_host::reset({.seed = seed});
    const DeviceArray<int> seen(256);
    launch(nullptr, dim3(1), dim3(32), exchange, seen.data());
    const std::vector<int> got = seen.fetch();
    for (int lane = 0; lane < 32; ++lane) {
      const auto at = [&](int call) { return got[static_cast<std::size_t>(call * 32 + lane)]; };
      CHECK(at(0) == 100 + (lane ^ 5));
      CHECK(at(1) == 107);
      CHECK(at(2) == 100 + lane / 8 * 8 + 1);
      CHECK(at(3) == 100 + (lane < 2 ? lane + 30 : lane));
      CHECK(at(4) == 100 + (lane < 2 ? lane : lane - 2));
      CHECK(static_cast<unsigned>(at(5)) == 0xaaaaaaaaU);
      CHECK(at(6) == 1);
      CHECK(at(7) == 100 + (lane ^ 1));
    }
  }
}

TEST_CASE("a barrier that some threads never reach is a fault") {
  cuda_on_host::reset({});
  launch(nullptr, dim3(1), dim3(64), half_of_a_block_waits);
  CHECK(fails_with(ExitCode::kInternal, "32 wait at __syncthreads", [] { check(cudaDeviceSynchronize(), "wait"); }));
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(cuda_on_host::take_fault().find("32 have ended") != std::string::npos);
  launch(nullptr, dim3(1), dim3(32), half_of_a_warp_waits);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(cuda_on_host::take_fault().find("16 wait at __syncthreads, 16 in a warp call") != std::string::npos);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("launches of impossible sizes are refused") {
  cuda_on_host::reset({});
  const auto refused = [](dim3 grid, dim3 block) {
    return fails_with(ExitCode::kInternal, "cudaErrorInvalidConfiguration",
                      [&] { launch(nullptr, grid, block, half_of_a_block_waits); });
  };
  CHECK(refused(dim3(1), dim3(1025)));
  CHECK(refused(dim3(1), dim3(64, 32)));
  CHECK(refused(dim3(0), dim3(32)));
  CHECK(refused(dim3(1, 65536), dim3(32)));
  CHECK(refused(dim3(1, 1, 65536), dim3(32)));
  CHECK_FALSE(refused(dim3(65536), dim3(32, 32)));
  CHECK(cuda_on_host::work_waiting() == 1);
}
