// Device memory and pinned memory, copies and fills.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/core.h>
#include <sys/mman.h>

#include "tests/support/cuda_on_host/state.h"

namespace cuda_on_host {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPage = 4096;
// The guard before and after each allocation. New memory is filled with 0xFF, which is NaN in every floating-point
// type.
constexpr std::size_t kGuardBytes = 256;
constexpr int kGuard = 0xA5;
constexpr int kFresh = 0xFF;

std::size_t rounded_up(std::size_t size, std::size_t to) {
  return (size + to - 1) / to * to;
}

// Includes its guards.
Range whole(std::byte* data, std::size_t size) {
  return {data - kGuardBytes, kGuardBytes + rounded_up(size, kAlignment) + kGuardBytes};
}

// The first gap between allocations that is large enough, or null.
std::byte* find_gap(const Device& device, std::size_t size) {
  const std::size_t wanted = whole(nullptr, size).size;
  std::byte* free = device.base;
  for (const auto& [data, used] : device.allocations) {
    const Range range = whole(data, used);
    if (static_cast<std::size_t>(range.data - free) >= wanted) break;
    free = range.data + range.size;
  }
  return static_cast<std::size_t>(device.base + device.size - free) >= wanted ? free + kGuardBytes : nullptr;
}

bool guards_hold(std::byte* data, std::size_t size) {
  const Range range = whole(data, size);
  const auto is_guard = [](std::byte b) { return b == std::byte{kGuard}; };
  return std::all_of(range.data, data, is_guard) && std::all_of(data + size, range.data + range.size, is_guard);
}

void check_guards_of(const Device& device) {
  for (const auto& [data, size] : device.allocations) {
    if (!guards_hold(data, size)) {
      record_fault(fmt::format("bytes before or behind the {} bytes of device memory at {} were written", size,
                               static_cast<const void*>(data)));
      return;
    }
  }
}

bool in_one(const std::map<std::byte*, std::size_t>& allocations, const void* data, std::size_t size) {
  auto* first = const_cast<std::byte*>(static_cast<const std::byte*>(data));
  auto after = allocations.upper_bound(first);
  if (after == allocations.begin()) return false;
  const auto& [start, length] = *std::prev(after);
  return static_cast<std::size_t>(first - start) <= length && size <= length - static_cast<std::size_t>(first - start);
}

DeviceSet bit(int device) {
  return DeviceSet{1} << device;
}

struct Copy {
  void* to;
  const void* from;
  std::size_t size;
};

cudaError_t copy_from_host(cudaStream_t stream, const Copy& copy) {
  if (!is_device_range(copy.to, copy.size) || device_of(copy.from)) return cudaErrorInvalidValue;
  const DeviceSet devices = bit(*device_of(copy.to));
  if (is_pinned_range(copy.from, copy.size)) {
    return enqueue(stream, devices, [copy] { std::memcpy(copy.to, copy.from, copy.size); });
  }
  if (stream->capture) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  const auto* bytes = static_cast<const std::byte*>(copy.from);
  return enqueue(stream, devices, [to = copy.to, staged = std::vector<std::byte>(bytes, bytes + copy.size)] {
    std::memcpy(to, staged.data(), staged.size());
  });
}

cudaError_t copy_to_host(cudaStream_t stream, const Copy& copy) {
  if (!is_device_range(copy.from, copy.size) || device_of(copy.to)) return cudaErrorInvalidValue;
  const bool pinned = is_pinned_range(copy.to, copy.size);
  if (!pinned && stream->capture) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  const cudaError_t status =
      enqueue(stream, bit(*device_of(copy.from)), [copy] { std::memcpy(copy.to, copy.from, copy.size); });
  return status == cudaSuccess && !pinned ? run_stream(stream) : status;
}

cudaError_t copy_on_devices(cudaStream_t stream, const Copy& copy) {
  if (!is_device_range(copy.from, copy.size) || !is_device_range(copy.to, copy.size)) return cudaErrorInvalidValue;
  return enqueue(stream, bit(*device_of(copy.from)) | bit(*device_of(copy.to)),
                 [copy] { std::memmove(copy.to, copy.from, copy.size); });
}

cudaError_t copy_on_host(cudaStream_t stream, const Copy& copy) {
  if (device_of(copy.from) || device_of(copy.to)) return cudaErrorInvalidValue;
  return enqueue(stream, 0, [copy] { std::memcpy(copy.to, copy.from, copy.size); });
}

cudaMemcpyKind kind_of(const Copy& copy) {
  if (device_of(copy.to)) return device_of(copy.from) ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
  return device_of(copy.from) ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}

cudaError_t enqueue_copy(cudaStream_t stream, const Copy& copy, cudaMemcpyKind kind) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (copy.size == 0) return cudaSuccess;
  switch (kind == cudaMemcpyDefault ? kind_of(copy) : kind) {
    case cudaMemcpyHostToDevice:
      return copy_from_host(stream, copy);
    case cudaMemcpyDeviceToHost:
      return copy_to_host(stream, copy);
    case cudaMemcpyDeviceToDevice:
      return copy_on_devices(stream, copy);
    case cudaMemcpyHostToHost:
      return copy_on_host(stream, copy);
    default:
      return cudaErrorInvalidMemcpyDirection;
  }
}

cudaError_t enqueue_fill(cudaStream_t stream, void* data, int value, std::size_t size) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (size == 0) return cudaSuccess;
  if (!is_device_range(data, size)) return cudaErrorInvalidValue;
  return enqueue(stream, bit(*device_of(data)), [=] { std::memset(data, value, size); });
}

}  // namespace

std::optional<int> device_of(const void* data) {
  const auto* byte = static_cast<const std::byte*>(data);
  for (std::size_t i = 0; i < state().devices.size(); ++i) {
    const Device& device = state().devices[i];
    if (byte >= device.base && byte < device.base + device.size) return static_cast<int>(i);
  }
  return std::nullopt;
}

bool is_device_range(const void* data, std::size_t size) {
  const auto device = device_of(data);
  return device && in_one(state().devices[static_cast<std::size_t>(*device)].allocations, data, size);
}

bool is_pinned_range(const void* data, std::size_t size) {
  return in_one(state().pinned, data, size);
}

void open_memory(DeviceSet devices) {
  for (std::size_t i = 0; i < state().devices.size(); ++i) {
    Device& device = state().devices[i];
    const bool open = (devices >> i & 1) != 0;
    if (open == device.open || device.used == 0) continue;
    mprotect(device.base, rounded_up(device.used, kPage), open ? PROT_READ | PROT_WRITE : PROT_NONE);
    device.open = open;
    device.ran = device.ran || open;
  }
}

void check_guards() {
  DeviceSet ran = 0;
  for (std::size_t i = 0; i < state().devices.size(); ++i) {
    if (state().devices[i].ran) ran |= DeviceSet{1} << i;
  }
  if (ran == 0) return;
  open_memory(ran);
  for (Device& device : state().devices) {
    if (std::exchange(device.ran, false)) check_guards_of(device);
  }
}

}  // namespace cuda_on_host

using namespace cuda_on_host;

cudaError_t cudaMalloc(void** data, std::size_t size) {
  return guarded([&] {
    if (data == nullptr) return cudaErrorInvalidValue;
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return status;
    *data = nullptr;
    if (size == 0) return cudaSuccess;
    if (resolve(nullptr) == nullptr) return cudaErrorNoDevice;
    Device& device = state().devices[static_cast<std::size_t>(current_device())];
    std::byte* found = size <= device.size ? find_gap(device, size) : nullptr;
    if (found == nullptr) return cudaErrorMemoryAllocation;
    const Range range = whole(found, size);
    open_memory(0);
    device.used = std::max(device.used, static_cast<std::size_t>(range.data + range.size - device.base));
    open_memory(bit(current_device()));
    std::memset(range.data, kGuard, range.size);
    std::memset(found, kFresh, size);
    open_memory(0);
    device.allocations[found] = size;
    *data = found;
    return cudaSuccess;
  });
}

cudaError_t cudaFree(void* data) {
  return guarded([&] {
    if (data == nullptr) return cudaSuccess;
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return status;
    const auto device = device_of(data);
    if (!device) return cudaErrorInvalidValue;
    auto& allocations = state().devices[static_cast<std::size_t>(*device)].allocations;
    if (!allocations.contains(static_cast<std::byte*>(data))) return cudaErrorInvalidValue;
    const cudaError_t status = run_everything();
    allocations.erase(static_cast<std::byte*>(data));
    return status;
  });
}

cudaError_t cudaHostAlloc(void** data, std::size_t size, unsigned) {
  return guarded([&] {
    if (data == nullptr) return cudaErrorInvalidValue;
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return status;
    *data = nullptr;
    if (size == 0) return cudaSuccess;
    auto* found = static_cast<std::byte*>(std::aligned_alloc(kPage, rounded_up(size, kPage)));
    if (found == nullptr) return cudaErrorMemoryAllocation;
    std::memset(found, kFresh, size);
    state().pinned[found] = size;
    *data = found;
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** data, std::size_t size) {
  return cudaHostAlloc(data, size, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* data) {
  return guarded([&] {
    if (data == nullptr) return cudaSuccess;
    if (!state().pinned.contains(static_cast<std::byte*>(data))) return cudaErrorInvalidValue;
    const cudaError_t status = run_everything();
    state().pinned.erase(static_cast<std::byte*>(data));
    std::free(data);
    return status;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  return guarded([&] { return enqueue_copy(resolve(stream), {to, from, size}, kind); });
}

cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, std::size_t size,
                                cudaStream_t stream) {
  return guarded([&] {
    if (size != 0 && (device_of(to) != to_device || device_of(from) != from_device)) return cudaErrorInvalidValue;
    return enqueue_copy(resolve(stream), {to, from, size}, cudaMemcpyDeviceToDevice);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind kind) {
  return guarded([&] {
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return status;
    cudaStream_t stream = resolve(nullptr);
    const cudaError_t status = enqueue_copy(stream, {to, from, size}, kind);
    return status == cudaSuccess ? run_stream(stream) : status;
  });
}

cudaError_t cudaMemsetAsync(void* data, int value, std::size_t size, cudaStream_t stream) {
  return guarded([&] { return enqueue_fill(resolve(stream), data, value, size); });
}

cudaError_t cudaMemset(void* data, int value, std::size_t size) {
  return guarded([&] {
    if (const cudaError_t status = refuse_in_capture(); status != cudaSuccess) return status;
    cudaStream_t stream = resolve(nullptr);
    const cudaError_t status = enqueue_fill(stream, data, value, size);
    return status == cudaSuccess ? run_stream(stream) : status;
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return guarded([&] {
    if (resolve(nullptr) == nullptr) return cudaErrorNoDevice;
    const Device& device = state().devices[static_cast<std::size_t>(current_device())];
    *total = *free = device.size;
    for (const auto& [data, size] : device.allocations) *free -= whole(data, size).size;
    return cudaSuccess;
  });
}
