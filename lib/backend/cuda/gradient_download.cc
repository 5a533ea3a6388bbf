#include "lib/backend/cuda/gradient_download.h"

namespace distmnist::cuda {

void GradientDownload::enqueue(Range variable, cudaStream_t stream) {
  if (enqueued_ == copies_.size()) copies_.emplace_back();
  Copy& copy = copies_[enqueued_++];
  copy.variable = variable;
  wait_for(stream_.get(), stream, copy.computed);
  download(stream_.get(), host_.data() + variable.offset, parameters_.gradients(variable), variable.size);
  check(cudaEventRecord(copy.copied.get(), stream_.get()), "record an event");
}

void GradientDownload::finish(const GradientReady& ready) {
  const std::size_t count = enqueued_;
  enqueued_ = 0;
  for (std::size_t i = 0; i < count; ++i) {
    check(cudaEventSynchronize(copies_[i].copied.get()), "copy gradients to the host");
    if (ready) ready(copies_[i].variable);
  }
}

}  // namespace distmnist::cuda
