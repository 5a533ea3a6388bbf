// Handles: owners of CUDA handles. Each is created on the current device and must be used with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>

#include "lib/backend/cuda/check.h"

namespace distmnist::cuda {

// Deletes a handle with `destroy`. Its return value is ignored, because an error could not be reported.
template <auto destroy>
struct Destroy {
  template <typename T>
  void operator()(T* handle) const {
    destroy(handle);
  }
};
template <typename Handle, auto destroy>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;

using Stream = Owner<cudaStream_t, cudaStreamDestroy>;
using Event = Owner<cudaEvent_t, cudaEventDestroy>;
using CapturedGraph = Owner<cudaGraph_t, cudaGraphDestroy>;
using GraphExecution = Owner<cudaGraphExec_t, cudaGraphExecDestroy>;
using BlasHandle = Owner<cublasLtHandle_t, cublasLtDestroy>;
using DnnHandle = Owner<cudnnHandle_t, cudnnDestroy>;

// Does not synchronize with the legacy default stream.
inline Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "create a stream");
  return Stream(stream);
}

inline Event make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "create an event");
  return Event(event);
}

inline BlasHandle make_blas_handle() {
  cublasLtHandle_t handle = nullptr;
  check(cublasLtCreate(&handle), "start cuBLASLt");
  return BlasHandle(handle);
}

inline DnnHandle make_dnn_handle() {
  cudnnHandle_t handle = nullptr;
  check(cudnnCreate(&handle), "start cuDNN");
  return DnnHandle(handle);
}

// Makes later work on `stream` wait for the work currently on `first`.
inline void wait_for(cudaStream_t stream, cudaStream_t first, const Event& event) {
  check(cudaEventRecord(event.get(), first), "record an event");
  check(cudaStreamWaitEvent(stream, event.get(), 0), "wait for an event");
}

// Pinned host memory, so that copies to and from a device run asynchronously.
template <typename T>
class PinnedArray {
 public:
  PinnedArray() = default;
  explicit PinnedArray(std::int64_t size) : size_(size) {
    void* data = nullptr;
    check(cudaMallocHost(&data, static_cast<std::size_t>(size) * sizeof(T)), "allocate pinned host memory");
    data_.reset(static_cast<T*>(data));
  }
  T* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }
  std::span<T> span() const { return {data_.get(), static_cast<std::size_t>(size_)}; }

 private:
  std::unique_ptr<T, Destroy<cudaFreeHost>> data_;
  std::int64_t size_ = 0;
};

// Each enqueues a copy of `count` numbers on a stream.
template <cudaMemcpyKind kKind, typename T>
void copy_async(cudaStream_t stream, T* to, const T* from, std::int64_t count) {
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), kKind, stream), "start a copy");
}
template <typename T>
void upload(cudaStream_t stream, T* device, const T* host, std::int64_t count) {
  copy_async<cudaMemcpyHostToDevice>(stream, device, host, count);
}
template <typename T>
void download(cudaStream_t stream, T* host, const T* device, std::int64_t count) {
  copy_async<cudaMemcpyDeviceToHost>(stream, host, device, count);
}

inline void synchronize(cudaStream_t stream) {
  check(cudaStreamSynchronize(stream), "finish the work of a stream");
}

}  // namespace distmnist::cuda
