// Collective: sums the gradients of several replicas, each on a device of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/backend/cuda/replica.h"

namespace distmnist::cuda {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual std::string name() const = 0;
  // Enqueues, on every replica's main stream, what makes its gradient block the sum over all replicas; the same bits on
  // each, and each time.
  virtual void sum_gradients() = 0;
};

// NCCL's all-reduce where libnccl.so.2 can be opened and the replicas are on different devices; else copies from device
// to device (through the host where there is no peer access) and sums on the first one. Replicas outlive it; at
// least 2.
std::unique_ptr<Collective> make_collective(const std::vector<std::unique_ptr<Replica>>& replicas);
// The second kind. For tests, too.
std::unique_ptr<Collective> make_peer_copies(const std::vector<std::unique_ptr<Replica>>& replicas);

}  // namespace distmnist::cuda
