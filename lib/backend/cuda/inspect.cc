#include "lib/backend/cuda/inspect.h"

#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "lib/backend/cuda/check.h"
#include "lib/backend/cuda/cuda_backend.h"
#include "lib/backend/cuda/free_memory.h"
#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

// "75,80,90": the compute capabilities that the build has code for, ascending.
constexpr std::string_view kArchitectures = DISTMNIST_GPU_ARCHITECTURES;

std::vector<int> architectures() {
  std::vector<int> out;
  std::string_view rest = kArchitectures;
  while (!rest.empty()) {
    const std::string_view each = rest.substr(0, rest.find(','));
    int number = 0;
    std::from_chars(each.data(), each.data() + each.size(), number);
    out.push_back(number);
    rest.remove_prefix(std::min(rest.size(), each.size() + 1));
  }
  return out;
}

std::string cuda_version(int number) {  // 13000 is 13.0
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

std::vector<CudaLibrary> libraries() {
  const std::size_t blas = cublasLtGetVersion();  // 130000 is 13.0.0
  const std::size_t dnn = cudnnGetVersion();      // 91900 is 9.19.0
  return {
      {fmt::format("libcublasLt.so.{}", blas / 10000),
       fmt::format("{}.{}.{}", blas / 10000, blas / 100 % 100, blas % 100)},
      {fmt::format("libcudnn.so.{}", dnn / 10000), fmt::format("{}.{}.{}", dnn / 10000, dnn / 100 % 100, dnn % 100)}};
}

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, index), "get a device's properties");
  return value;
}

std::string fault_of(const GpuInfo& gpu) {
  const std::vector<int> built = architectures();
  const int capability = gpu.major * 10 + gpu.minor;
  if (capability >= built.front()) return {};
  return fmt::format("this build has code for compute capability {}.{} and newer, but the card has {}.{}",
                     built.front() / 10, built.front() % 10, gpu.major, gpu.minor);
}

}  // namespace

int count_gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

GpuInfo inspect_gpu(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "get a device's properties");
  std::array<char, 32> pci_bus_id{};
  check(cudaDeviceGetPCIBusId(pci_bus_id.data(), pci_bus_id.size(), index), "get a device's PCI bus id");
  GpuInfo gpu;
  gpu.index = index;
  gpu.name = properties.name;
  gpu.major = properties.major;
  gpu.minor = properties.minor;
  gpu.memory_clock_ghz = attribute(cudaDevAttrMemoryClockRate, index) / 1e6;  // from kHz
  gpu.pci_bus_id = pci_bus_id.data();
  gpu.total_bytes = properties.totalGlobalMem;
  gpu.multiprocessors = properties.multiProcessorCount;
  gpu.fault = fault_of(gpu);
  if (!gpu.fault.empty()) return gpu;
  if (const auto free = free_bytes_of(gpu.pci_bus_id)) {
    gpu.free_bytes = *free;
    return gpu;
  }
  std::size_t free = 0, total = 0;
  check(cudaSetDevice(index), "choose a device");
  const cudaError_t status = cudaMemGetInfo(&free, &total);
  if (status == cudaSuccess) {
    gpu.free_bytes = free;
  } else {
    cudaGetLastError();
    gpu.fault = fmt::format("the card cannot be used: {}", cudaGetErrorString(status));
  }
  return gpu;
}

GpuSystem inspect_gpus() {
  GpuSystem system;
  int version = 0;
  if (cudaRuntimeGetVersion(&version) == cudaSuccess) system.runtime_version = cuda_version(version);
  if (cudaDriverGetVersion(&version) == cudaSuccess && version != 0) system.driver_version = cuda_version(version);
  for (const int each : architectures()) system.built_for.push_back(fmt::format("sm_{}", each));
  system.built_for.push_back(fmt::format("compute_{}", architectures().back()));
  system.libraries = libraries();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    // Without a driver, CUDA reports one that is too old.
    system.fault = system.driver_version.empty() ? "CUDA finds no NVIDIA driver" : cudaGetErrorString(status);
    return system;
  }
  if (count == 0) system.fault = "no CUDA-capable device is visible";
  for (int index = 0; index < count; ++index) system.gpus.push_back(inspect_gpu(index));
  for (int from = 0; from < count; ++from) {
    std::vector<bool> row;
    for (int to = 0; to < count; ++to) {
      int possible = from == to ? 1 : 0;
      if (from != to && cudaDeviceCanAccessPeer(&possible, from, to) != cudaSuccess) possible = 0;
      row.push_back(possible != 0);
    }
    system.peers.push_back(row);
  }
  return system;
}

}  // namespace distmnist::cuda
