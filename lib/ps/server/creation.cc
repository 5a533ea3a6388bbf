#include "lib/ps/server/creation.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "lib/math/magnitudes.h"
#include "lib/ps/records/names.h"

namespace distmnist {
namespace {

// What is wrong with the pieces of a shard of a model with `num_parameters`.
std::optional<std::string> fault_of(const std::vector<NamedRange>& pieces, std::int64_t num_parameters,
                                    const OptimizerSpec& optimizer) {
  std::int64_t end = 0, floats = 0;
  for (const NamedRange& piece : pieces) {
    const Range range = piece.range;
    if (!is_name(piece.name)) return "an invalid variable name; " + name_rule();
    if (range.offset < end || range.size <= 0) return "pieces out of order or out of range";
    if (range.size > num_parameters || range.offset > num_parameters - range.size) {
      return fmt::format("a piece beyond the {} parameters of the chief's model", num_parameters);
    }
    end = range.end();
    floats += range.size;
  }
  const auto copies = static_cast<std::int64_t>(1 + slot_names(optimizer.kind).size());
  if (floats > kMaxShardFloats / copies) return "more parameters than a ps can hold";
  return std::nullopt;
}

std::optional<std::string> fault_of(const Strategy& strategy) {
  if (strategy.sync && (strategy.replicas_to_aggregate < 1 || strategy.replicas_to_aggregate > kMaxReplicas)) {
    return fmt::format("{} replicas to aggregate, but only 1 to {} are possible", strategy.replicas_to_aggregate,
                       kMaxReplicas);
  }
  if (strategy.drop_above < 0 || strategy.max_staleness < kUnboundedStaleness || strategy.warmup_steps < 0 ||
      strategy.train_steps < 0) {
    return "a negative bound in its strategy";
  }
  return std::nullopt;
}

// What is wrong with the counts that a model continues from.
std::optional<std::string> fault_of_counts(const CreateRecord& record) {
  if (record.global_step < 0) return "a negative global_step";
  if (record.global_step > kMaxCount) return "a global_step that is too large";
  for (const auto& [worker, samples] : record.progress.consumed_samples) {
    if (samples < 0 || samples > kMaxCount)
      return fmt::format("an invalid number of samples, {}, for worker:{}", samples, worker);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> fault_of_creation(const CreateRecord& record, std::uint64_t run,
                                             std::int64_t num_parameters) {
  if (run == 0) return "a model without a run number";
  if (auto fault = fault_of(record.optimizer)) return fault;
  if (auto fault = fault_of(record.strategy)) return fault;
  if (auto fault = fault_of_counts(record)) return fault;
  if (auto fault = fault_of(record.pieces, num_parameters, record.optimizer)) return fault;
  if (num_parameters > kMaxParameters)
    return fmt::format("a model of {} parameters, which is too many", num_parameters);
  return std::nullopt;
}

Creation::Creation(const Header& header, const CreateRecord& record)
    : incarnation_(header.incarnation),
      progress_(record.progress),
      shard_{header.run, record.progress.run_id, record.pieces, record.strategy,
             VariableStore(ranges_of(record.pieces), record.optimizer, record.global_step)} {
  loaded_.resize((1 + shard_.store.num_slots()) * shard_.store.chunks().size(), false);
}

Creation::Loaded Creation::load(const Message& message) {
  const Header& header = message.header;
  VariableStore& store = shard_.store;
  const auto chunk = store.chunks().find(header.range());
  const bool fits = chunk && header.slot <= store.num_slots() && header.dtype == WireDtype::kF32;
  if (!fits || !is_of(header)) return Loaded::kPassedOver;
  if (!all_finite(message.payload.floats())) return Loaded::kNotFinite;
  const std::span<float> values = store.values(header.slot, *chunk);
  if (!values.empty()) std::memcpy(values.data(), message.payload.bytes().data(), values.size_bytes());
  loaded_[header.slot * store.chunks().size() + *chunk] = true;
  return Loaded::kTaken;
}

bool Creation::is_whole() const {
  return std::ranges::find(loaded_, false) == loaded_.end();
}

Shard Creation::finish(std::uint32_t num_workers) {
  for (const auto& [worker, count] : progress_.consumed_samples) {
    if (worker < num_workers) shard_.histories[worker].consumed_samples = count;
  }
  return std::move(shard_);
}

}  // namespace distmnist
