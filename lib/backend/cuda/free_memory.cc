#include "lib/backend/cuda/free_memory.h"

#include <dlfcn.h>

#include <memory>

namespace distmnist::cuda {
namespace {

// The part of NVML's C interface used here (nvml.h, whose values and layouts are fixed); 0 is success. Declared here so
// that a build does not need NVML.
struct Memory {
  unsigned long long total = 0, free = 0, used = 0;
};
using Device = void*;
using Init = int (*)();
using FindDevice = int (*)(const char*, Device*);
using AskMemory = int (*)(Device, Memory*);

struct Close {
  void operator()(void* library) const { dlclose(library); }
};

template <typename Function>
Function find(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

std::optional<std::uint64_t> free_bytes_of(const std::string& pci_bus_id) {
  const std::unique_ptr<void, Close> library(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL));
  if (!library) return std::nullopt;
  const auto init = find<Init>(library.get(), "nvmlInit_v2");
  const auto shut_down = find<Init>(library.get(), "nvmlShutdown");
  const auto find_device = find<FindDevice>(library.get(), "nvmlDeviceGetHandleByPciBusId_v2");
  const auto ask_memory = find<AskMemory>(library.get(), "nvmlDeviceGetMemoryInfo");
  if (init == nullptr || shut_down == nullptr || find_device == nullptr || ask_memory == nullptr) return std::nullopt;
  if (init() != 0) return std::nullopt;
  Device device = nullptr;
  Memory memory;
  const bool known = find_device(pci_bus_id.c_str(), &device) == 0 && ask_memory(device, &memory) == 0;
  shut_down();
  if (!known) return std::nullopt;
  return memory.free;
}

}  // namespace distmnist::cuda
