#include "lib/backend/cpu/cpu_resident_training.h"

#include <algorithm>
#include <cassert>

#include "lib/backend/cpu/cpu_executor.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

bool CpuResidentTraining::keep_samples(const SampleBytes& samples) {
  samples_.keep(samples);
  return true;
}

void CpuResidentTraining::start(const OptimizerSpec& optimizer, std::int64_t global_step,
                                std::span<const std::span<const float>> slots) {
  assert(slots.size() == slot_names(optimizer.kind).size());
  executor_.parameters().start(optimizer, slots);
  global_step_ = global_step;
}

void CpuResidentTraining::run(const ResidentSteps& steps) {
  assert(!samples_.empty() && steps.batch_size >= 1 && !steps.samples.empty());
  assert(std::ssize(steps.samples) % steps.batch_size == 0);
  const auto size = static_cast<std::size_t>(steps.batch_size);
  for (std::size_t first = 0; first < steps.samples.size(); first += size) {
    const Batch batch = samples_.gather(steps.samples.subspan(first, size), steps.first_sample + first);
    last_ = executor_.resident_step(batch, ++global_step_);
  }
}

void CpuResidentTraining::read_slot(std::size_t slot, std::span<float> values) const {
  std::ranges::copy(executor_.parameters().slot(slot), values.begin());
}

}  // namespace distmnist::cpu
