// GradientDownload: brings gradients to the host, each as soon as it is there, while the backward pass goes on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/parameters.h"

namespace distmnist::cuda {

// Used on one device, by one thread.
class GradientDownload {
 public:
  explicit GradientDownload(Parameters& parameters)
      : parameters_(parameters), host_(parameters.size()), stream_(make_stream()) {}

  // [num_parameters], pinned.
  std::span<float> gradients() { return host_.span(); }

  // Enqueues the copy of a variable's gradient after what is on `stream` now.
  void enqueue(Range variable, cudaStream_t stream);
  // Waits for one copy after the other, in the order in which they were enqueued, and announces each.
  void finish(const GradientReady& ready);

 private:
  struct Copy {
    Range variable = {};
    Event computed = make_event();
    Event copied = make_event();
  };
  Parameters& parameters_;
  PinnedArray<float> host_;
  Stream stream_;
  std::vector<Copy> copies_;  // events are used again in the next step
  std::size_t enqueued_ = 0;
};

}  // namespace distmnist::cuda
