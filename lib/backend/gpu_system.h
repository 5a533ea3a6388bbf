// GpuSystem: the CUDA module's description of the host's GPUs, as plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace distmnist {

struct GpuInfo {
  int index = 0;  // logical: numbered from 0 among those visible through CUDA_VISIBLE_DEVICES
  std::string name = {};
  int major = 0, minor = 0;  // compute capability
  double memory_clock_ghz = 0;
  std::string pci_bus_id = {};  // "0000:02:00.0"
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;  // at the time of the query
  int multiprocessors = 0;
  std::string fault = {};  // why it is unusable ("built for 8.0 and newer, this card has 6.1"); empty if usable
};

struct CudaLibrary {
  std::string file = {};     // "libcudnn.so.9"
  std::string version = {};  // "9.19.0"; of the opened library
};

struct GpuSystem {
  std::string fault = {};  // why there is no GPU at all ("no CUDA-capable device is detected"); empty if there is one
  std::string driver_version = {};            // newest CUDA version the driver supports, "13.0"; empty without a driver
  std::string runtime_version = {};           // of the CUDA runtime in the module
  std::vector<std::string> built_for = {};    // architectures in the module: "sm_80", "sm_90", "compute_90"
  std::vector<CudaLibrary> libraries = {};    // opened by the module
  std::vector<GpuInfo> gpus = {};             // sorted by index
  std::vector<std::vector<bool>> peers = {};  // [from][to]: direct copies are possible; true on the diagonal
};

}  // namespace distmnist
