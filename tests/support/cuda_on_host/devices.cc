// The devices: their number, their properties, and the current device of each thread.
#include <cstdio>
#include <cstring>

#include <fmt/core.h>

#include "tests/support/cuda_on_host/state.h"

namespace cuda_on_host {
namespace {

bool exists(int device) {
  return device >= 0 && static_cast<std::size_t>(device) < state().devices.size();
}

// Numbered from 1, because slot 0 never belongs to a GPU.
int pci_bus(int device) {
  return state().visible[static_cast<std::size_t>(device)] + 1;
}

bool are_peers(int from, int to) {
  const Settings& settings = state().settings;
  if (from == to) return false;
  if (settings.peer_table.empty()) return settings.peers;
  const auto physical = [](int device) {
    return static_cast<std::size_t>(state().visible[static_cast<std::size_t>(device)]);
  };
  return settings.peer_table[physical(from)][physical(to)];
}

std::optional<int> attribute(cudaDeviceAttr wanted, int device) {
  switch (wanted) {
    case cudaDevAttrMaxThreadsPerBlock:
      return 1024;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      return 1024;
    case cudaDevAttrMaxBlockDimZ:
      return 64;
    case cudaDevAttrMaxGridDimX:
      return 0x7fffffff;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return 65535;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return 48 << 10;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrClockRate:
      return 1'980'000;
    case cudaDevAttrMemoryClockRate:
      return 2'619'000;
    case cudaDevAttrGlobalMemoryBusWidth:
      return 5120;
    case cudaDevAttrMultiProcessorCount:
      return 132;
    case cudaDevAttrComputeCapabilityMajor:
      return state().settings.major;
    case cudaDevAttrComputeCapabilityMinor:
      return state().settings.minor;
    case cudaDevAttrPciBusId:
      return pci_bus(device);
    case cudaDevAttrPciDeviceId:
    case cudaDevAttrPciDomainId:
    case cudaDevAttrIntegrated:
    case cudaDevAttrComputeMode:
      return 0;
    case cudaDevAttrUnifiedAddressing:
      return 1;
    default:
      return std::nullopt;
  }
}

}  // namespace
}  // namespace cuda_on_host

using namespace cuda_on_host;

cudaError_t cudaGetDeviceCount(int* count) {
  return guarded([&] {
    *count = static_cast<int>(state().devices.size());
    return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return guarded([&] {
    *device = current_device();
    return state().devices.empty() ? cudaErrorNoDevice : cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return guarded([&] {
    if (state().devices.empty()) return cudaErrorNoDevice;
    if (!exists(device)) return cudaErrorInvalidDevice;
    set_current_device(device);
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return guarded([&] {
    if (!exists(device)) return cudaErrorInvalidDevice;
    *properties = cudaDeviceProp{};
    std::snprintf(properties->name, sizeof(properties->name), "Simulated GPU %d.%d", state().settings.major,
                  state().settings.minor);
    properties->totalGlobalMem = state().settings.memory_bytes;
    properties->major = state().settings.major;
    properties->minor = state().settings.minor;
    properties->multiProcessorCount = 132;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->memoryBusWidth = 5120;
    properties->sharedMemPerBlock = 48 << 10;
    properties->unifiedAddressing = 1;
    properties->pciBusID = pci_bus(device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr wanted, int device) {
  return guarded([&] {
    if (!exists(device)) return cudaErrorInvalidDevice;
    const auto found = attribute(wanted, device);
    if (!found) return cudaErrorNotSupported;
    *value = *found;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device) {
  return guarded([&] {
    if (!exists(device)) return cudaErrorInvalidDevice;
    const std::string text = fmt::format("0000:{:02x}:00.0", pci_bus(device));
    if (static_cast<std::size_t>(size) <= text.size()) return cudaErrorInvalidValue;
    std::memcpy(id, text.c_str(), text.size() + 1);
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return guarded([&] {
    if (!exists(device) || !exists(peer)) return cudaErrorInvalidDevice;
    *can = are_peers(device, peer) ? 1 : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return guarded([&] {
    if (flags != 0) return cudaErrorInvalidValue;
    if (!exists(peer) || !are_peers(current_device(), peer)) return cudaErrorPeerAccessUnsupported;
    DeviceSet& peers = state().devices[static_cast<std::size_t>(current_device())].peers;
    if ((peers >> peer & 1) != 0) return cudaErrorPeerAccessAlreadyEnabled;
    peers |= DeviceSet{1} << peer;
    return cudaSuccess;
  });
}
