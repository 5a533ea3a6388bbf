#include "lib/worker/resident_client.h"

#include <cassert>
#include <span>
#include <utility>

namespace distmnist {

ResidentClient::ResidentClient(Executor& executor, std::int64_t num_parameters, OptimizerSpec optimizer)
    : executor_(executor),
      training_(*executor.resident_training()),
      num_parameters_(num_parameters),
      optimizer_(std::move(optimizer)) {}

SessionInfo ResidentClient::open() {
  SessionInfo info;
  info.has_model = has_model_;
  info.global_step = global_step_;
  return info;
}

void ResidentClient::create(const StoredModel& model) {
  executor_.load({0, num_parameters_}, model.parameters);
  const std::vector<std::span<const float>> slots(model.slots.begin(), model.slots.end());
  training_.start(optimizer_, model.global_step, slots);
  has_model_ = true;
  global_step_ = model.global_step;
  progress_ = model;
  progress_.consumed_samples.try_emplace(0, 0);
}

std::int64_t ResidentClient::pull(ParameterSink& sink) {
  if (&sink != &executor_) sink.load({0, num_parameters_}, parameters());
  return global_step_;
}

std::optional<StoredModel> ResidentClient::snapshot() {
  StoredModel model;
  model.global_step = global_step_;
  model.parameters = parameters();
  model.slots.resize(slot_names(optimizer_.kind).size());
  for (std::size_t slot = 0; slot < model.slots.size(); ++slot) {
    model.slots[slot].resize(model.parameters.size());
    training_.read_slot(slot, model.slots[slot]);
  }
  static_cast<RunProgress&>(model) = progress_;
  return model;
}

Turn ResidentClient::run(const ResidentSteps& steps) {
  assert(has_model_ && steps.first_sample == static_cast<std::uint64_t>(consumed_samples()));
  training_.run(steps);
  global_step_ += std::ssize(steps.samples) / steps.batch_size;
  progress_.consumed_samples[0] += std::ssize(steps.samples);
  return {global_step_, consumed_samples(), true, 0};
}

StepResult ResidentClient::last_step() {
  return training_.last_step();
}

std::vector<float> ResidentClient::parameters() const {
  std::vector<float> values(static_cast<std::size_t>(num_parameters_));
  executor_.read({0, num_parameters_}, values);
  return values;
}

}  // namespace distmnist
