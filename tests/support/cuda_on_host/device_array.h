// Numbers in device memory for tests of the runtime. Use DeviceTensor for tests of kernels.
#pragma once

#include <cstddef>
#include <vector>

#include "lib/backend/cuda/check.h"

namespace cuda_on_host {

template <typename T>
class DeviceArray {
 public:
  // The state after cudaMalloc: filled with 0xFF.
  explicit DeviceArray(std::size_t size) : size_(size) {
    void* data = nullptr;
    distmnist::cuda::check(cudaMalloc(&data, size * sizeof(T)), "take device memory");
    data_ = static_cast<T*>(data);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    distmnist::cuda::check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "copy");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return size_ * sizeof(T); }

  // Waits until all work of the device is done.
  std::vector<T> fetch() const {
    std::vector<T> values(size_);
    distmnist::cuda::check(cudaDeviceSynchronize(), "wait");
    distmnist::cuda::check(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "copy");
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

}  // namespace cuda_on_host
