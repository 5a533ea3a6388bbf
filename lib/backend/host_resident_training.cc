#include "lib/backend/host_resident_training.h"

#include <algorithm>
#include <cassert>

namespace distmnist {

HostResidentTraining::HostResidentTraining(Executor& executor, const Graph& graph)
    : executor_(executor), num_parameters_(graph.num_parameters), samples_(graph) {}

bool HostResidentTraining::keep_samples(const SampleBytes& samples) {
  samples_.keep(samples);
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
  assert(!samples_.empty() && !parameters_.empty());
  assert(steps.batch_size >= 1 && !steps.samples.empty() && std::ssize(steps.samples) % steps.batch_size == 0);
  const auto size = static_cast<std::size_t>(steps.batch_size);
  for (std::size_t first = 0; first < steps.samples.size(); first += size) {
    last_ = executor_.train_step(samples_.gather(steps.samples.subspan(first, size), steps.first_sample + first), {});
    update();
  }
}

void HostResidentTraining::read_slot(std::size_t slot, std::span<float> values) const {
  std::ranges::copy(slots_.at(slot), values.begin());
}

void HostResidentTraining::update() {
  const Range all{0, num_parameters_};
  executor_.read(all, parameters_);
  const std::vector<std::span<float>> slots(slots_.begin(), slots_.end());
  apply_update(optimizer_, ++global_step_, {parameters_, slots, executor_.gradients(), parameters_});
  executor_.load(all, parameters_);
}

}  // namespace distmnist
