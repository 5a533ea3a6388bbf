#include "lib/ps/client/in_process_client.h"

#include <algorithm>

#include <fmt/core.h>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/wire/numbers.h"

namespace distmnist {

SessionInfo InProcessClient::open() {
  SessionInfo info;
  info.has_model = store_.has_value();
  info.global_step = store_ ? store_->global_step() : 0;
  return info;
}

void InProcessClient::create(const StoredModel& model) {
  store_.emplace(ranges_of(variables_), optimizer_, model.global_step);
  for (std::size_t slot = 0; slot <= store_->num_slots(); ++slot) {
    const std::span<const float> block = slot == 0 ? model.parameters : model.slots[slot - 1];
    for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
      std::ranges::copy(slice(block, store_->chunks().range(chunk)), store_->values(slot, chunk).begin());
    }
  }
  progress_ = model;
  progress_.consumed_samples.try_emplace(0, 0);
}

std::int64_t InProcessClient::pull(ParameterSink& sink) {
  for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
    sink.load(store_->chunks().range(chunk), store_->values(0, chunk));
  }
  return store_->global_step();
}

Turn InProcessClient::join(ParameterSink& sink) {
  return {pull(sink), progress_.consumed_samples[0], true, 0};
}

void InProcessClient::begin_push(const Numbers& gradients, std::int64_t, std::int64_t samples) {
  gradients_ = floats(gradients);
  pushed_samples_ = samples;
  dropped_.clear();
}

void InProcessClient::push(Range range) {
  const Numbers gradient{WireDtype::kF32, std::as_bytes(slice(gradients_, range))};
  if (!dropped_.empty() || may_be_applied(gradient)) return;
  const auto bad = first_bad_number(gradient).value();
  const std::int64_t at = range.offset + static_cast<std::int64_t>(bad.index);
  const auto variable = std::ranges::find_if(variables_, [&](const NamedRange& each) { return at < each.range.end(); });
  dropped_ = fmt::format("a gradient has {} in {}", bad.text, variable->name);
}

Turn InProcessClient::finish_push(ParameterSink& sink) {
  progress_.consumed_samples[0] += pushed_samples_;
  if (!dropped_.empty()) {
    skip_push();
    return {pull(sink), progress_.consumed_samples[0], false, 0, false};
  }
  skipped_in_a_row_ = 0;
  store_->begin_update();
  for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
    const Range range = store_->chunks().range(chunk);
    const std::span<float> parameters = store_->values(0, chunk);
    store_->apply(chunk, slice(gradients_, range), parameters);
    sink.load(range, parameters);
  }
  return {store_->global_step(), progress_.consumed_samples[0], true, 0};
}

void InProcessClient::skip_push() {
  const std::string what = fmt::format("{} at global_step {}", dropped_, store_->global_step());
  if (on_nan_ == OnNan::kFail) {
    fail(ExitCode::kDiverged, "{}; drop such gradients with --on_nan=skip, or lower --learning_rate", what);
  }
  if (++skipped_in_a_row_ == 1) log_warning("{}: dropped (--on_nan=skip)", what);
  if (skipped_in_a_row_ < kMaxSkippedInARow) return;
  fail(ExitCode::kDiverged,
       "{}, the {}th in a row, so the model itself is ruined; resume from the newest checkpoint with a lower "
       "--learning_rate",
       what, skipped_in_a_row_);
}

std::optional<StoredModel> InProcessClient::snapshot() {
  StoredModel model;
  model.global_step = store_->global_step();
  model.slots.resize(store_->num_slots());
  for (std::size_t slot = 0; slot <= store_->num_slots(); ++slot) {
    std::vector<float>& block = slot == 0 ? model.parameters : model.slots[slot - 1];
    block.reserve(static_cast<std::size_t>(store_->chunks().num_floats()));
    for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
      const std::span<const float> values = store_->values(slot, chunk);
      block.insert(block.end(), values.begin(), values.end());
    }
  }
  static_cast<RunProgress&>(model) = progress_;
  return model;
}

}  // namespace distmnist
