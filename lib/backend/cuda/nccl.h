// Nccl: NCCL, opened at run time because not every machine has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <cuda_runtime.h>

namespace distmnist::cuda {

// One communicator for each of several devices, all in this process.
class Nccl {
 public:
  // Null if there is no libnccl.so.2, or if it does not work with these devices.
  static std::unique_ptr<Nccl> open(const std::vector<int>& devices);
  virtual ~Nccl() = default;

  virtual std::string version() const = 0;
  // Call between begin() and end(), for each device `rank`: replaces numbers[i] by the sum over all devices, on its
  // stream.
  virtual void begin() = 0;
  virtual void sum(std::size_t rank, float* numbers, std::int64_t count, cudaStream_t stream) = 0;
  virtual void end() = 0;
};

}  // namespace distmnist::cuda
