// Collective: sums the gradients of several towers, each on its own device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/backend/cuda/tower.h"

namespace distmnist::cuda {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual std::string name() const = 0;
  // Enqueues, on every tower's main stream, the work that replaces its gradient block with the sum over all towers.
  // The result is bitwise identical on all towers and in every run.
  virtual void sum_gradients() = 0;
};

// Uses NCCL's all-reduce if libnccl.so.2 can be opened and the towers are on different devices. Otherwise copies from
// device to device (through the host if there is no peer access) and sums on the first one. The towers (at least 2)
// must outlive it.
std::unique_ptr<Collective> make_collective(const std::vector<std::unique_ptr<Tower>>& towers);
// The second kind; also used by tests.
std::unique_ptr<Collective> make_peer_copies(const std::vector<std::unique_ptr<Tower>>& towers);

}  // namespace distmnist::cuda
