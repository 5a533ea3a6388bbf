// DeviceMemory: the GPU memory available to this process, and arrays in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/backend/cuda/block_pool.h"

namespace distmnist::cuda {

// How much of a card's memory this process takes, see GpuOptions.
struct MemoryShare {
  std::optional<double> fraction;
  bool allow_growth = false;
};

// A pool over cudaMalloc that never exceeds its share. Thread-safe. CUDA's own context (several hundred MB) is not
// counted.
class DeviceMemory {
 public:
  // Error: kResources if a share that is allocated up front is not free; kUsage for a fraction outside (0, 1].
  DeviceMemory(int device, const MemoryShare& share);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // At least `size_bytes`, aligned to kPieceAlignment. Error (kResources) gives `purpose` ("activations of a batch of
  // 4096"), its size, the share, and a remedy.
  void* allocate(std::uint64_t size_bytes, const std::string& purpose);
  void release(void* address);

  int device() const { return device_; }
  std::uint64_t limit_bytes() const { return limit_bytes_; }
  std::uint64_t used_bytes() const;

 private:
  bool grow(std::uint64_t size_bytes);
  std::string shortage(std::uint64_t size_bytes, const std::string& purpose) const;

  const int device_;
  const MemoryShare share_;
  std::uint64_t total_bytes_ = 0;  // of the card
  std::uint64_t limit_bytes_ = 0;  // of this process
  mutable std::mutex mutex_;
  BlockPool pool_;
  std::vector<void*> blocks_;  // indexed by block number in pool_
  std::map<void*, Piece> pieces_;
};

// An array of T on a device. Frees its memory on destruction. Not initialized.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(DeviceMemory& memory, std::int64_t size, const std::string& purpose)
      : memory_(&memory),
        data_(size == 0 ? nullptr
                        : static_cast<T*>(memory.allocate(static_cast<std::uint64_t>(size) * sizeof(T), purpose))),
        size_(size) {}
  DeviceArray(DeviceArray&& other) noexcept { swap(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    DeviceArray taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~DeviceArray() {
    if (data_ != nullptr) memory_->release(data_);
  }

  T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::size_t size_bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

 private:
  void swap(DeviceArray& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  DeviceMemory* memory_ = nullptr;
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace distmnist::cuda
