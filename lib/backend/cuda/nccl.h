// NCCL, opened at run time: not every machine has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <cuda_runtime.h>

namespace distmnist::cuda {

// A communicator of each of several devices, all of this process.
class Nccl {
 public:
  // Null where there is no libnccl.so.2, or it does not work with these devices.
  static std::unique_ptr<Nccl> open(const std::vector<int>& devices);
  virtual ~Nccl() = default;

  virtual std::string version() const = 0;
  // Between begin() and end(), for each device `rank`: numbers[i] becomes the sum over all devices, on its stream.
  virtual void begin() = 0;
  virtual void sum(std::size_t rank, float* numbers, std::int64_t count, cudaStream_t stream) = 0;
  virtual void end() = 0;
};

}  // namespace distmnist::cuda
