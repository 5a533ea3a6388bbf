#include "lib/backend/kept_samples.h"

#include <cassert>

#include "lib/backend/softmax_loss.h"

namespace distmnist {

KeptSamples::KeptSamples(const Graph& graph)
    : image_size_(static_cast<std::size_t>(graph.input.size())), classes_(graph.output().size()) {}

void KeptSamples::keep(const SampleBytes& samples) {
  assert(samples.pixels.size() == static_cast<std::size_t>(samples.count) * image_size_ &&
         std::ssize(samples.labels) == samples.count);
  check_labels(samples.labels, classes_);
  samples_ = samples;
}

Batch KeptSamples::gather(std::span<const std::int32_t> samples, std::uint64_t first_sample) {
  images_.resize(samples.size() * image_size_);
  labels_.resize(samples.size());
  float* to = images_.data();
  for (std::size_t n = 0; n < samples.size(); ++n) {
    const auto sample = static_cast<std::size_t>(samples[n]);
    assert(sample < samples_.labels.size());
    for (const std::uint8_t byte : samples_.pixels.subspan(sample * image_size_, image_size_)) {
      *to++ = static_cast<float>(byte) / 255.0f;
    }
    labels_[n] = samples_.labels[sample];
  }
  return {.size = std::ssize(samples), .images = images_, .labels = labels_, .first_sample = first_sample};
}

}  // namespace distmnist
