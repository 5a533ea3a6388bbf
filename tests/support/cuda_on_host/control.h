// What a test decides about the simulated GPUs, and what it can ask of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cuda_on_host {

struct Settings {
  int devices = 1;
  std::size_t memory_bytes = std::size_t{256} << 20;  // of each device
  bool peers = true;                                  // every device can reach every other one's memory
  std::vector<std::vector<bool>> peer_table = {};     // [from][to], instead of `peers`; empty: not wanted
  std::uint64_t seed = 1;                             // of the choice which stream goes on, and of the kernels' order
  bool fused_epilogues = true;                        // false: cuBLASLt finds no algorithm for any epilogue
  bool repeatable_advice = true;                      // false: cuDNN proposes algorithms only that are not repeatable
  bool nccl = false;                                  // there is an NCCL
  int major = 9, minor = 0;                           // compute capability
};

// Forgets all streams, memory and errors and starts anew. Nothing made before may be used after it. A process that
// never calls it has the settings of its environment: CUDA_ON_HOST, for example
// "devices=2,memory_mib=64,peers=0,seed=3,fused=0,nccl=1,capability=7.5".
void reset(const Settings& settings);

// The first fault of device work (a kernel that cannot go on, a write outside of an allocation), or nothing; the
// devices work again after it. A process that ends with a fault that nobody took is aborted.
std::string take_fault();

// Pieces of device work that ran until now, and that wait in streams.
std::uint64_t work_done();
std::uint64_t work_waiting();

// Allocations of device and of pinned memory that have not been freed.
std::size_t live_allocations();

}  // namespace cuda_on_host
