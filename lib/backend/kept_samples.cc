#include "lib/backend/kept_samples.h"

#include <cassert>

#include "lib/backend/softmax_loss.h"
#include "lib/math/simd.h"

namespace distmnist {
namespace {

constexpr std::size_t kAhead = 4;       // samples that are fetched from memory before their turn
constexpr std::size_t kCacheLine = 64;  // bytes

DISTMNIST_VERSIONS void floats_of(const std::uint8_t* bytes, std::size_t size, float* to) {
  for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<float>(bytes[i]) / 255.0f;
}

}  // namespace

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
  const auto pixels_of = [&](std::size_t n) {
    const auto sample = static_cast<std::size_t>(samples[n]);
    assert(sample < samples_.labels.size());
    return samples_.pixels.subspan(sample * image_size_, image_size_);
  };
  for (std::size_t n = 0; n < samples.size(); ++n) {
    // Samples are in random order, which no processor foresees.
    if (n + kAhead < samples.size()) {
      const std::uint8_t* const next = pixels_of(n + kAhead).data();
      for (std::size_t at = 0; at < image_size_; at += kCacheLine) __builtin_prefetch(next + at);
    }
    floats_of(pixels_of(n).data(), image_size_, images_.data() + n * image_size_);
    labels_[n] = samples_.labels[static_cast<std::size_t>(samples[n])];
  }
  return {.size = std::ssize(samples), .images = images_, .labels = labels_, .first_sample = first_sample};
}

}  // namespace distmnist
