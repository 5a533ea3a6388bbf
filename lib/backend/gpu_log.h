// What a process says of its GPUs: lines from what the CUDA module has found. The forms are those of TensorFlow 1.x.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/backend/gpu_system.h"

namespace distmnist {

// What is logged once, when a process first looks for GPUs: the libraries, each visible GPU, which pairs cannot copy
// directly, the matrix of those that can, and the GPUs that cannot be used, each with the reason.
std::vector<std::string> startup_lines(const GpuSystem& system);

// "Creating device (/gpu:0) -> (device: 0, name: NVIDIA H200, pci bus id: 0000:02:00.0)"
std::string creation_line(const GpuInfo& gpu);

// "Device mapping:" and a line for each GPU that can be used: "/job:worker/replica:0/task:0/device:GPU:0 -> device: 0,
// name: ..., pci bus id: ...". `task` is the part before the device. Nothing where there is no such GPU.
std::vector<std::string> device_mapping(const GpuSystem& system, std::string_view task);

// The same facts as a table for a person, with the versions of driver, runtime and libraries, the architectures that
// the module has code for, and what does not fit.
std::vector<std::string> gpu_table(const GpuSystem& system);

}  // namespace distmnist
