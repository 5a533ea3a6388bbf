// Gpu: one device, shared by the executors of a process.
#pragma once

#include <memory>

#include <cuda_runtime.h>

#include "lib/backend/cuda/check.h"
#include "lib/backend/cuda/device_memory.h"
#include "lib/backend/gpu_system.h"

namespace distmnist::cuda {

struct Gpu {
  GpuInfo info;
  std::unique_ptr<DeviceMemory> memory;

  // CUDA's current device is per thread.
  void make_current() const { check(cudaSetDevice(info.index), "choose a device"); }
};

}  // namespace distmnist::cuda
