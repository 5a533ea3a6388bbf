#include "lib/backend/host_resident_training.h"

#include <algorithm>
#include <cassert>

#include "lib/backend/softmax_loss.h"

namespace distmnist {

HostResidentTraining::HostResidentTraining(Executor& executor, const Graph& graph)
    : executor_(executor),
      image_size_(graph.input.size()),
      classes_(graph.output().size()),
      num_parameters_(graph.num_parameters) {}

bool HostResidentTraining::keep_samples(const SampleBytes& samples) {
  assert(std::ssize(samples.pixels) == samples.count * image_size_ && std::ssize(samples.labels) == samples.count);
  check_labels(samples.labels, classes_);
  pixels_.assign(samples.pixels.begin(), samples.pixels.end());
  labels_.assign(samples.labels.begin(), samples.labels.end());
  return true;
}

void HostResidentTraining::start(const OptimizerSpec& optimizer, std::int64_t global_step,
                                 std::span<const std::span<const float>> slots) {
  assert(slots.size() == slot_names(optimizer.kind).size());
  optimizer_ = optimizer;
  global_step_ = global_step;
  parameters_.resize(static_cast<std::size_t>(num_parameters_));
  slots_.clear();
  for (const std::span<const float> slot : slots) {
    assert(std::ssize(slot) == num_parameters_);
    slots_.emplace_back(slot.begin(), slot.end());
  }
}

void HostResidentTraining::run(const ResidentSteps& steps) {
  assert(!labels_.empty() && !parameters_.empty());
  assert(steps.batch_size >= 1 && !steps.samples.empty() && std::ssize(steps.samples) % steps.batch_size == 0);
  const auto size = static_cast<std::size_t>(steps.batch_size);
  for (std::size_t first = 0; first < steps.samples.size(); first += size) {
    step(steps.samples.subspan(first, size), steps.first_sample + first);
  }
}

void HostResidentTraining::read_slot(std::size_t slot, std::span<float> values) const {
  std::ranges::copy(slots_.at(slot), values.begin());
}

void HostResidentTraining::step(std::span<const std::int32_t> samples, std::uint64_t first_sample) {
  const auto image_size = static_cast<std::size_t>(image_size_);
  batch_images_.resize(samples.size() * image_size);
  batch_labels_.resize(samples.size());
  for (std::size_t n = 0; n < samples.size(); ++n) {
    const auto sample = static_cast<std::size_t>(samples[n]);
    assert(sample < labels_.size());
    std::ranges::transform(std::span(pixels_).subspan(sample * image_size, image_size),
                           batch_images_.begin() + static_cast<std::ptrdiff_t>(n * image_size),
                           [](std::uint8_t byte) { return static_cast<float>(byte) / 255.0f; });
    batch_labels_[n] = labels_[sample];
  }
  last_ = executor_.train_step({std::ssize(samples), batch_images_, batch_labels_, first_sample}, {});
  update();
}

void HostResidentTraining::update() {
  const Range all{0, num_parameters_};
  executor_.read(all, parameters_);
  const std::vector<std::span<float>> slots(slots_.begin(), slots_.end());
  apply_update(optimizer_, ++global_step_, parameters_, slots, executor_.gradients(), parameters_);
  executor_.load(all, parameters_);
}

}  // namespace distmnist
