// Tests the stand-in for CUDA: NCCL with its simulated GPUs.
#include "lib/backend/cuda/nccl.h"

#include <array>
#include <memory>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/device_array.h"
#include "tests/support/expect_error.h"

using namespace distmnist;
using namespace distmnist::cuda;
using cuda_on_host::DeviceArray;

namespace {

// Two devices with 3 numbers each.
struct Rank {
  explicit Rank(int device, const std::vector<float>& values) {
    check(cudaSetDevice(device), "choose");
    numbers = std::make_unique<DeviceArray<float>>(values);
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "make a stream");
  }
  std::unique_ptr<DeviceArray<float>> numbers;
  cudaStream_t stream = nullptr;
};

}  // namespace

TEST_CASE("NCCL is only available if a test requests it") {
  cuda_on_host::reset({.devices = 2});
  CHECK(Nccl::open({0, 1}) == nullptr);
  cuda_on_host::reset({.devices = 2, .nccl = true});
  CHECK(Nccl::open({0, 1}) != nullptr);
}

TEST_CASE("sums wait for the work before them on each device, and each device's stream waits for the sums") {
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    cuda_on_host::reset({.devices = 2, .seed = seed, .nccl = true});
    const Rank first(0, {1, 2, 3}), second(1, {10, 20, 30});
    const auto nccl = Nccl::open({0, 1});
    check(cudaMemsetAsync(second.numbers->data(), 0, 4, second.stream), "fill");
    nccl->begin();
    nccl->sum(1, second.numbers->data(), 3, second.stream);
    nccl->sum(0, first.numbers->data(), 3, first.stream);
    nccl->end();
    std::array<float, 3> got{};
    check(cudaMemcpyAsync(got.data(), second.numbers->data(), 12, cudaMemcpyDeviceToHost, second.stream), "copy");
    CHECK(got == std::array<float, 3>{1, 22, 33});
    CHECK(first.numbers->fetch() == std::vector<float>{1, 22, 33});
  }
}

TEST_CASE("a sum that a device does not take part in is refused") {
  cuda_on_host::reset({.devices = 2, .nccl = true});
  const Rank first(0, {1, 2, 3});
  const auto nccl = Nccl::open({0, 1});
  nccl->begin();
  nccl->sum(0, first.numbers->data(), 3, first.stream);
  CHECK(fails_with(ExitCode::kInternal, "not all of 2 devices", [&] { nccl->end(); }));
  CHECK(
      fails_with(ExitCode::kInternal, "another device", [&] { nccl->sum(1, first.numbers->data(), 3, first.stream); }));
}
