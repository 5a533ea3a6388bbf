// GradientDownload: copies each gradient to the host as soon as it is ready, while the backward pass continues.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/parameters.h"

namespace distmnist::cuda {

// For one device and one thread.
class GradientDownload {
 public:
  explicit GradientDownload(Parameters& parameters)
      : parameters_(parameters), host_(parameters.size()), stream_(make_stream()) {}

  // [num_parameters], pinned.
  std::span<float> gradients() { return host_.span(); }

  // Enqueues a copy of the variable's gradient after the work currently on `stream`.
  void enqueue(Range variable, cudaStream_t stream);
  // Waits for the copies in the order in which they were enqueued, and announces each one.
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
  std::vector<Copy> copies_;  // events are reused in the next step
  std::size_t enqueued_ = 0;
};

}  // namespace distmnist::cuda
