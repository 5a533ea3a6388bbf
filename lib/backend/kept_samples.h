// KeptSamples: samples that are used in place, for executors whose device is the host.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/backend.h"

namespace distmnist {

class KeptSamples {
 public:
  explicit KeptSamples(const Graph& graph);

  // Keeps a reference to the samples. Error (kData) for a label that is not below the number of classes.
  void keep(const SampleBytes& samples);
  bool empty() const { return samples_.count == 0; }

  // The batch of these samples, as floats; valid until the next call. `first_sample` as in Batch.
  Batch gather(std::span<const std::int32_t> samples, std::uint64_t first_sample);

 private:
  std::size_t image_size_;
  std::int64_t classes_;
  SampleBytes samples_;
  std::vector<float> images_;         // [batch, image_size]
  std::vector<std::uint8_t> labels_;  // [batch]
};

}  // namespace distmnist
