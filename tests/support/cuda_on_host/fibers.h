// Executes a kernel's blocks on the host: the threads of a block are fibers of one host thread.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>

#include <cuda_runtime.h>

namespace cuda_on_host {

// A kernel that cannot go on: threads wait for others that have ended, or that wait elsewhere.
struct KernelFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Which end blocks, and threads of a block, are started from: code that lacks a barrier often works from one of them.
struct Order {
  bool last_block_first = false;
  bool last_thread_first = false;
};

// Runs all blocks, one after the other; one caller at a time. Throws KernelFault, or what a thread threw.
void run_grid(dim3 grid, dim3 block, Order order, const std::function<void()>& thread);

}  // namespace cuda_on_host
