// Settings of the simulated GPUs for tests, and queries about them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cuda_on_host {

struct Settings {
  int devices = 1;
  std::size_t memory_bytes = std::size_t{256} << 20;  // of each device
  bool peers = true;                                  // every device can access the memory of every other one
  std::vector<std::vector<bool>> peer_table = {};     // [from][to], instead of `peers`; empty if unused
  std::uint64_t seed = 1;         // for the choice of the next stream, and for the order of kernels' threads
  bool fused_epilogues = true;    // false: cuBLASLt finds no algorithm for any epilogue
  bool repeatable_advice = true;  // false: cuDNN only proposes algorithms that are not repeatable
  bool nccl = false;              // NCCL is available
  int major = 9, minor = 0;       // compute capability
};

// Discards all streams, memory and errors and starts again. Objects made before must not be used after it. A process
// that never calls it has the settings in its environment variable CUDA_ON_HOST, for example
// "devices=2,memory_mib=64,peers=0,seed=3,fused=0,nccl=1,capability=7.5".
void reset(const Settings& settings);

// The first fault of device work (a kernel that cannot continue, a write outside an allocation), or an empty string.
// The devices work again after it. A process that ends with a fault that was not taken is aborted.
std::string take_fault();

// The number of pieces of device work that have run, and that are waiting in streams.
std::uint64_t work_done();
std::uint64_t work_waiting();

// Allocations of device and pinned memory that have not been freed.
std::size_t live_allocations();

}  // namespace cuda_on_host
