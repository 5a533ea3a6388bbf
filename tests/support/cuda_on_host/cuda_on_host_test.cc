// Tests the stand-in for CUDA on which the backend's tests run: streams, memory and devices. It must detect every error
// that would fail on a GPU.
#include "tests/support/cuda_on_host/control.h"

#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "lib/backend/cuda/launch.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/device_array.h"
#include "tests/support/cuda_on_host/seeds.h"
#include "tests/support/expect_error.h"

using namespace distmnist;
using namespace distmnist::cuda;
using cuda_on_host::count_seeds;
using cuda_on_host::DeviceArray;
using cuda_on_host::kSeeds;

namespace {

__global__ void fill(float* data, std::int64_t first, std::int64_t last, float value) {
  const std::int64_t i = first + blockIdx.x * blockDim.x + threadIdx.x;
  if (i < last) data[i] = value;
}

__global__ void copy(const float* from, float* to) {
  to[threadIdx.x] = from[threadIdx.x];
}

struct Streams {
  cudaStream_t one = nullptr, two = nullptr;
  cudaEvent_t event = nullptr;
  Streams() {
    check(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking), "make a stream");
    check(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking), "make a stream");
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "make an event");
  }
};

void fill_on(cudaStream_t stream, const DeviceArray<float>& data, float value) {
  const auto size = static_cast<std::int64_t>(data.size());
  launch(stream, dim3(1), dim3(32), fill, data.data(), std::int64_t{0}, size, value);
}

float* pinned_floats(std::size_t count) {
  void* data = nullptr;
  check(cudaMallocHost(&data, count * sizeof(float)), "take pinned memory");
  return static_cast<float*>(data);
}

}  // namespace

TEST_CASE("work runs only when a call waits for it") {
  cuda_on_host::reset({});
  const Streams streams;
  const DeviceArray<float> data(8);
  const std::uint64_t before = cuda_on_host::work_done();
  fill_on(streams.one, data, 1);
  CHECK(cudaStreamSynchronize(streams.two) == cudaSuccess);
  CHECK(cuda_on_host::work_done() == before);
  CHECK(cudaStreamSynchronize(streams.one) == cudaSuccess);
  CHECK(cuda_on_host::work_done() == before + 1);
}

TEST_CASE("streams without an event between them run in either order") {
  const auto sees_the_fill = [](bool with_event) {
    return count_seeds([&] {
      const Streams streams;
      const DeviceArray<float> first(std::vector<float>(32, 0)), second(std::vector<float>(32, 0));
      fill_on(streams.one, first, 5);
      if (with_event) {
        check(cudaEventRecord(streams.event, streams.one), "record");
        check(cudaStreamWaitEvent(streams.two, streams.event, 0), "wait");
      }
      launch(streams.two, dim3(1), dim3(32), copy, static_cast<const float*>(first.data()), second.data());
      return second.fetch() == std::vector<float>(32, 5);
    });
  };
  CHECK(sees_the_fill(true) == kSeeds);
  CHECK(sees_the_fill(false) > 0);
  CHECK(sees_the_fill(false) < kSeeds);
}

TEST_CASE("waiting for a stream includes the events that the stream waits for") {
  CHECK(count_seeds([] {
          const Streams streams;
          const DeviceArray<float> data(8);
          const std::uint64_t before = cuda_on_host::work_done();
          fill_on(streams.one, data, 5);
          check(cudaEventRecord(streams.event, streams.one), "record");
          check(cudaStreamWaitEvent(streams.two, streams.event, 0), "wait");
          check(cudaStreamSynchronize(streams.two), "wait");
          return cudaEventQuery(streams.event) == cudaSuccess && cuda_on_host::work_done() == before + 3;
        }) == kSeeds);
}

TEST_CASE("an event stands for the work before its last record, but earlier waits keep the earlier record") {
  CHECK(count_seeds([] {
          const Streams streams;
          const DeviceArray<float> first(std::vector<float>(32, 0)), second(std::vector<float>(32, 0));
          fill_on(streams.one, first, 5);
          check(cudaEventRecord(streams.event, streams.one), "record");
          check(cudaStreamWaitEvent(streams.two, streams.event, 0), "wait");
          check(cudaEventRecord(streams.event, streams.two), "record again");
          launch(streams.two, dim3(1), dim3(32), copy, static_cast<const float*>(first.data()), second.data());
          return second.fetch() == std::vector<float>(32, 5);
        }) == kSeeds);
}

TEST_CASE("the default stream waits for blocking streams only") {
  const auto sees_the_fill = [](unsigned flags) {
    return count_seeds([&] {
      cudaStream_t stream = nullptr;
      check(cudaStreamCreateWithFlags(&stream, flags), "make a stream");
      const DeviceArray<float> data(std::vector<float>(8, 0));
      fill_on(stream, data, 3);
      std::vector<float> values(8);
      check(cudaMemcpy(values.data(), data.data(), data.size_bytes(), cudaMemcpyDeviceToHost), "copy");
      return values == std::vector<float>(8, 3);
    });
  };
  CHECK(sees_the_fill(cudaStreamDefault) == kSeeds);
  CHECK(sees_the_fill(cudaStreamNonBlocking) < kSeeds);
}

TEST_CASE("pinned memory is read and written when the copy runs, pageable memory at the call") {
  cuda_on_host::reset({});
  const Streams streams;
  const DeviceArray<float> data(4);
  float* pinned = pinned_floats(4);
  std::vector<float> pageable(4, 1);
  std::fill_n(pinned, 4, 1.0F);

  check(cudaMemcpyAsync(data.data(), pageable.data(), 16, cudaMemcpyHostToDevice, streams.one), "copy");
  pageable.assign(4, 2);
  CHECK(data.fetch() == std::vector<float>(4, 1));

  check(cudaMemcpyAsync(data.data(), pinned, 16, cudaMemcpyHostToDevice, streams.one), "copy");
  std::fill_n(pinned, 4, 2.0F);
  CHECK(data.fetch() == std::vector<float>(4, 2));

  std::fill_n(pinned, 4, 0.0F);
  check(cudaMemcpyAsync(pinned, data.data(), 16, cudaMemcpyDeviceToHost, streams.one), "copy");
  CHECK(pinned[0] == 0);
  CHECK(cudaStreamSynchronize(streams.one) == cudaSuccess);
  CHECK(pinned[0] == 2);
  check(cudaMemcpyAsync(pageable.data(), data.data(), 16, cudaMemcpyDeviceToHost, streams.one), "copy");
  CHECK(pageable[0] == 2);
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE("copies that leave an allocation or have the wrong direction are refused") {
  cuda_on_host::reset({});
  const DeviceArray<float> data(4), other(4);
  std::vector<float> host(8);
  const auto try_copy = [&](void* to, const void* from, std::size_t size, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, size, kind, nullptr);
  };
  CHECK(try_copy(data.data(), host.data(), 17, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(try_copy(data.data() + 1, host.data(), 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(try_copy(data.data(), host.data(), 16, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(try_copy(host.data(), data.data(), 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(try_copy(host.data(), data.data(), 16, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
  CHECK(try_copy(other.data(), data.data(), 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(host.data(), 0, 16, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(data.data(), 0, 20, nullptr) == cudaErrorInvalidValue);
  CHECK(try_copy(other.data(), data.data(), 16, cudaMemcpyDefault) == cudaSuccess);
  CHECK(try_copy(host.data(), data.data(), 16, cudaMemcpyDefault) == cudaSuccess);
}

TEST_CASE("new device memory is full of NaN, and filled bytes are readable") {
  cuda_on_host::reset({});
  const DeviceArray<float> data(4);
  CHECK(data.fetch()[3] != data.fetch()[3]);
  check(cudaMemsetAsync(data.data(), 0, data.size_bytes(), nullptr), "fill");
  CHECK(data.fetch() == std::vector<float>(4, 0));
}

TEST_CASE("a kernel that writes beside its memory is a fault") {
  for (const std::int64_t where : {std::int64_t{-1}, std::int64_t{5}}) {
    cuda_on_host::reset({});
    const DeviceArray<float> data(5);
    launch(nullptr, dim3(1), dim3(1), fill, data.data(), where, where + 1, 1.0F);
    CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
    CHECK(cuda_on_host::take_fault().find("before or behind the 20 bytes") != std::string::npos);
    cuda_on_host::reset({});
  }
}

TEST_CASE("the host cannot access device memory") {
  cuda_on_host::reset({});
  const DeviceArray<float> data(5);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    *const_cast<volatile float*>(data.data()) = 1;
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
}

TEST_CASE("device memory can run out, and is available again after it is freed") {
  cuda_on_host::reset({.memory_bytes = 1 << 20});
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "ask");
  CHECK(free == 1 << 20);
  void *first = nullptr, *second = nullptr;
  CHECK(cudaMalloc(&first, 700 << 10) == cudaSuccess);
  CHECK(cudaMalloc(&second, 700 << 10) == cudaErrorMemoryAllocation);
  CHECK(second == nullptr);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cuda_on_host::live_allocations() == 1);
  CHECK(cudaFree(first) == cudaSuccess);
  CHECK(cudaFree(first) == cudaErrorInvalidValue);
  CHECK(cudaMalloc(&second, 700 << 10) == cudaSuccess);
}

TEST_CASE("streams and memory belong to the device that was current") {
  cuda_on_host::reset({.devices = 2});
  const Streams streams;
  const DeviceArray<float> data(std::vector<float>(32, 4));
  check(cudaSetDevice(1), "choose");
  const DeviceArray<float> other(32);
  CHECK(fails_with(ExitCode::kInternal, "cudaErrorInvalidResourceHandle", [&] { fill_on(streams.one, data, 1); }));
  CHECK(cudaMemcpyPeerAsync(other.data(), 1, data.data(), 1, 128, nullptr) == cudaErrorInvalidValue);
  check(cudaMemcpyPeerAsync(other.data(), 1, data.data(), 0, 128, nullptr), "copy");
  CHECK(other.fetch() == std::vector<float>(32, 4));
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
  char id[16];
  check(cudaDeviceGetPCIBusId(id, sizeof(id), 1), "ask");
  CHECK(std::string(id) == "0000:02:00.0");
}

TEST_CASE("peers can access each other's memory once that is enabled") {
  cuda_on_host::reset({.devices = 3, .peer_table = {{true, true, false}, {true, true, false}, {false, false, true}}});
  int can = -1;
  check(cudaDeviceCanAccessPeer(&can, 0, 1), "ask");
  CHECK(can == 1);
  check(cudaDeviceCanAccessPeer(&can, 0, 2), "ask");
  CHECK(can == 0);
  CHECK(cudaDeviceEnablePeerAccess(2, 0) == cudaErrorPeerAccessUnsupported);
  CHECK(cudaDeviceEnablePeerAccess(1, 0) == cudaSuccess);
  CHECK(cudaDeviceEnablePeerAccess(1, 0) == cudaErrorPeerAccessAlreadyEnabled);
  check(cudaSetDevice(1), "choose");
  const DeviceArray<float> theirs(std::vector<float>(32, 6));
  check(cudaSetDevice(0), "choose");
  const DeviceArray<float> ours(32);
  launch(nullptr, dim3(1), dim3(32), copy, static_cast<const float*>(theirs.data()), ours.data());
  CHECK(ours.fetch() == std::vector<float>(32, 6));
}

TEST_CASE("CUDA_VISIBLE_DEVICES changes the numbers of the devices") {
  setenv("CUDA_VISIBLE_DEVICES", "2,0", 1);
  cuda_on_host::reset({.devices = 3});
  int count = 0;
  check(cudaGetDeviceCount(&count), "ask");
  CHECK(count == 2);
  char id[16];
  check(cudaDeviceGetPCIBusId(id, sizeof(id), 0), "ask");
  CHECK(std::string(id) == "0000:03:00.0");
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  cuda_on_host::reset({.devices = 3});
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  unsetenv("CUDA_VISIBLE_DEVICES");
}
