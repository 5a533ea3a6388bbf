// GPU log: log lines about the GPUs found by the CUDA module, in the format of TensorFlow 1.x.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/backend/gpu_system.h"

namespace distmnist {

// The lines logged once, when a process first looks for GPUs: the libraries, each visible GPU, pairs without direct
// copies, the matrix of pairs with direct copies, and the unusable GPUs, each with the reason.
std::vector<std::string> startup_lines(const GpuSystem& system);

// "Creating device (/gpu:0) -> (device: 0, name: NVIDIA H200, pci bus id: 0000:02:00.0)"
std::string creation_line(const GpuInfo& gpu);

// "Device mapping:" and a line for each usable GPU: "/job:worker/replica:0/task:0/device:GPU:0 -> device: 0, name: ...,
// pci bus id: ...". `task` is the part before the device. Empty if there is no usable GPU.
std::vector<std::string> device_mapping(const GpuSystem& system, std::string_view task);

// The same facts as a table for users, plus the versions of driver, runtime and libraries, the architectures that the
// module has code for, and any mismatch.
std::vector<std::string> gpu_table(const GpuSystem& system);

}  // namespace distmnist
