#include "lib/ps/in_process_client.h"

#include <algorithm>

namespace distmnist {

SessionInfo InProcessClient::open() {
  SessionInfo info;
  info.has_model = store_.has_value();
  info.global_step = store_ ? store_->global_step() : 0;
  return info;
}

void InProcessClient::create(const StoredModel& model) {
  store_.emplace(variables_, model.optimizer, model.global_step);
  for (std::size_t slot = 0; slot <= store_->num_slots(); ++slot) {
    const std::span<const float> block = slot == 0 ? model.parameters : model.slots[slot - 1];
    for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
      std::ranges::copy(slice(block, store_->chunks().range(chunk)), store_->values(slot, chunk).begin());
    }
  }
  const auto own = model.consumed_samples.find(0);
  consumed_samples_ = own == model.consumed_samples.end() ? 0 : own->second;
}

std::int64_t InProcessClient::pull(const ParameterSink& sink) {
  for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
    sink(store_->chunks().range(chunk), store_->values(0, chunk));
  }
  return store_->global_step();
}

Turn InProcessClient::join(const ParameterSink& sink) {
  return {pull(sink), consumed_samples_, true, 0};
}

void InProcessClient::begin_push(std::span<const float> gradients, std::int64_t, std::int64_t samples) {
  gradients_ = gradients;
  pushed_samples_ = samples;
}

Turn InProcessClient::finish_push(const ParameterSink& sink) {
  store_->begin_update();
  consumed_samples_ += pushed_samples_;
  for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
    const Range range = store_->chunks().range(chunk);
    const std::span<float> parameters = store_->values(0, chunk);
    store_->apply(chunk, slice(gradients_, range), parameters);
    sink(range, parameters);
  }
  return {store_->global_step(), consumed_samples_, true, 0};
}

StoredModel InProcessClient::snapshot() {
  StoredModel model;
  model.global_step = store_->global_step();
  model.optimizer = store_->optimizer();
  model.slots.resize(store_->num_slots());
  for (std::size_t slot = 0; slot <= store_->num_slots(); ++slot) {
    std::vector<float>& block = slot == 0 ? model.parameters : model.slots[slot - 1];
    block.reserve(static_cast<std::size_t>(store_->chunks().num_floats()));
    for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
      const std::span<const float> values = store_->values(slot, chunk);
      block.insert(block.end(), values.begin(), values.end());
    }
  }
  model.consumed_samples[0] = consumed_samples_;
  return model;
}

}  // namespace distmnist
