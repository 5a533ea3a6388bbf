// Tests the stand-in for CUDA: stream capture and graphs.
#include <thread>
#include <vector>

#include "lib/backend/cuda/launch.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/device_array.h"

using namespace distmnist::cuda;
using cuda_on_host::DeviceArray;

namespace {

constexpr std::uint64_t kSeeds = 24;

__global__ void add(const float* from, float* into, float more) {
  into[threadIdx.x] += from[threadIdx.x] + more;
}

struct Streams {
  cudaStream_t one = nullptr, two = nullptr;
  cudaEvent_t fork = nullptr, join = nullptr;
  Streams() {
    check(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking), "make a stream");
    check(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking), "make a stream");
    check(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming), "make an event");
    check(cudaEventCreateWithFlags(&join, cudaEventDisableTiming), "make an event");
  }
  void begin() const { check(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal), "capture"); }
  void fork_to_two() const {
    check(cudaEventRecord(fork, one), "record");
    check(cudaStreamWaitEvent(two, fork, 0), "wait");
  }
  void join_two() const {
    check(cudaEventRecord(join, two), "record");
    check(cudaStreamWaitEvent(one, join, 0), "wait");
  }
  cudaError_t end(cudaGraph_t* graph) const { return cudaStreamEndCapture(one, graph); }
};

void add_on(cudaStream_t stream, const DeviceArray<float>& from, const DeviceArray<float>& into, float more) {
  launch(stream, dim3(1), dim3(4), add, static_cast<const float*>(from.data()), into.data(), more);
}

cudaGraphExec_t instantiate(cudaGraph_t graph) {
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  check(cudaGraphDestroy(graph), "destroy");
  return executable;
}

}  // namespace

TEST_CASE("captured work runs with each launch of its graph, not during the capture") {
  cuda_on_host::reset({});
  const Streams streams;
  const DeviceArray<float> from(std::vector<float>(4, 1)), into(std::vector<float>(4, 0));
  streams.begin();
  cudaStreamCaptureStatus status{};
  check(cudaStreamIsCapturing(streams.one, &status), "ask");
  CHECK(status == cudaStreamCaptureStatusActive);
  add_on(streams.one, from, into, 1);
  cudaGraph_t graph = nullptr;
  check(streams.end(&graph), "end");
  CHECK(into.fetch() == std::vector<float>(4, 0));
  cudaGraphExec_t executable = instantiate(graph);
  for (int i = 0; i < 3; ++i) check(cudaGraphLaunch(executable, streams.two), "launch");
  check(cudaGraphExecDestroy(executable), "destroy");
  CHECK(into.fetch() == std::vector<float>(4, 6));
}

// into = 1 on one stream, then += 10 on the other, then from = into + 0 on the first.
TEST_CASE("a graph keeps only the order that events gave to its streams") {
  const auto right = [](bool with_fork_order) {
    std::uint64_t count = 0;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      cuda_on_host::reset({.seed = seed});
      const Streams streams;
      const DeviceArray<float> zero(std::vector<float>(4, 0)), middle(std::vector<float>(4, 0)),
          last(std::vector<float>(4, 0));
      streams.begin();
      if (!with_fork_order) streams.fork_to_two();
      add_on(streams.one, zero, middle, 1);
      if (with_fork_order) streams.fork_to_two();
      add_on(streams.two, middle, last, 10);
      streams.join_two();
      add_on(streams.one, last, last, 0);
      cudaGraph_t graph = nullptr;
      check(streams.end(&graph), "end");
      cudaGraphExec_t executable = instantiate(graph);
      check(cudaGraphLaunch(executable, streams.one), "launch");
      count += last.fetch() == std::vector<float>(4, 22) ? 1 : 0;
    }
    return count;
  };
  CHECK(right(true) == kSeeds);
  CHECK(right(false) > 0);
  CHECK(right(false) < kSeeds);
}

TEST_CASE("a stream that is not joined fails the capture") {
  cuda_on_host::reset({});
  const Streams streams;
  const DeviceArray<float> data(std::vector<float>(4, 0));
  streams.begin();
  streams.fork_to_two();
  add_on(streams.two, data, data, 1);
  cudaGraph_t graph = nullptr;
  CHECK(streams.end(&graph) == cudaErrorStreamCaptureUnjoined);
  CHECK(graph == nullptr);
  // Both work as normal streams again.
  add_on(streams.two, data, data, 1);
  CHECK(data.fetch() == std::vector<float>(4, 1));
}

TEST_CASE("a call that cannot be captured ends the capture") {
  const Streams* current = nullptr;
  const auto refused = [&](const auto& call) {
    cuda_on_host::reset({});
    const Streams streams;
    current = &streams;
    streams.begin();
    const cudaError_t status = call();
    cudaGraph_t graph = nullptr;
    const bool ended = streams.end(&graph) == cudaErrorStreamCaptureInvalidated;
    return ended && (status == cudaErrorStreamCaptureUnsupported || status == cudaErrorStreamCaptureImplicit);
  };
  void* data = nullptr;
  float number = 0;
  CHECK(refused([&] { return cudaMalloc(&data, 16); }));
  CHECK(refused([&] { return cudaMallocHost(&data, 16); }));
  CHECK(refused([&] { return cudaStreamSynchronize(current->one); }));
  CHECK(refused([&] { return cudaDeviceSynchronize(); }));
  CHECK(refused([&] { return cudaMemcpy(&number, &number, 4, cudaMemcpyHostToHost); }));
  CHECK(refused([&] { return cudaEventRecord(current->fork, nullptr); }));
}

TEST_CASE("pageable memory cannot be captured, pinned memory is read at each launch") {
  cuda_on_host::reset({});
  const Streams streams;
  const DeviceArray<float> data(1);
  float pageable = 1;
  cudaGraph_t graph = nullptr;
  streams.begin();
  CHECK(cudaMemcpyAsync(data.data(), &pageable, 4, cudaMemcpyHostToDevice, streams.one) ==
        cudaErrorStreamCaptureUnsupported);
  CHECK(streams.end(&graph) == cudaErrorStreamCaptureInvalidated);

  void* memory = nullptr;
  check(cudaMallocHost(&memory, 4), "take pinned memory");
  auto* pinned = static_cast<float*>(memory);
  streams.begin();
  check(cudaMemcpyAsync(data.data(), pinned, 4, cudaMemcpyHostToDevice, streams.one), "copy");
  check(streams.end(&graph), "end");
  cudaGraphExec_t executable = instantiate(graph);
  for (const float value : {1.0F, 2.0F}) {
    *pinned = value;
    check(cudaGraphLaunch(executable, streams.one), "launch");
    CHECK(data.fetch() == std::vector<float>{value});
  }
}

TEST_CASE("captured work does not wait for work outside the capture") {
  cuda_on_host::reset({});
  const Streams streams;
  const DeviceArray<float> data(std::vector<float>(4, 0));
  add_on(streams.two, data, data, 1);
  check(cudaEventRecord(streams.join, streams.two), "record");
  streams.begin();
  CHECK(cudaStreamWaitEvent(streams.one, streams.join, 0) == cudaErrorStreamCaptureIsolation);
  check(cudaEventRecord(streams.fork, streams.one), "record");
  CHECK(cudaEventSynchronize(streams.fork) == cudaErrorCapturedEvent);
  cudaGraph_t graph = nullptr;
  check(streams.end(&graph), "end");
  CHECK(cudaStreamWaitEvent(streams.two, streams.fork, 0) == cudaErrorCapturedEvent);
  check(cudaGraphDestroy(graph), "destroy");
}

TEST_CASE("a capture limited to one thread does not affect other threads") {
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
    cuda_on_host::reset({});
    const Streams streams;
    check(cudaStreamBeginCapture(streams.one, mode), "capture");
    cudaError_t status = cudaSuccess;
    std::thread([&] {
      void* data = nullptr;
      status = cudaMalloc(&data, 16);
    }).join();
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = streams.end(&graph);
    const bool allowed = mode == cudaStreamCaptureModeThreadLocal;
    CHECK(status == (allowed ? cudaSuccess : cudaErrorStreamCaptureUnsupported));
    CHECK(ended == (allowed ? cudaSuccess : cudaErrorStreamCaptureInvalidated));
    if (graph != nullptr) check(cudaGraphDestroy(graph), "destroy");
  }
}
