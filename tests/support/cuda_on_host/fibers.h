// Executes a kernel's blocks on the host: the threads of a block are fibers of one host thread.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>

#include <cuda_runtime.h>

namespace cuda_on_host {

// A kernel that cannot continue: threads wait for others that have ended or wait in a different place.
struct KernelFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The end from which blocks, and threads of a block, are started. Code without a necessary barrier often works from one
// of them.
struct Order {
  bool last_block_first = false;
  bool last_thread_first = false;
};

// Runs all blocks one after the other, for one caller at a time. Throws KernelFault, or an exception from a thread.
void run_grid(dim3 grid, dim3 block, Order order, const std::function<void()>& thread);

}  // namespace cuda_on_host
