#include "lib/ps/variable_store.h"

#include <array>
#include <cassert>

namespace distmnist {

VariableStore::VariableStore(const std::vector<Range>& pieces, const OptimizerSpec& optimizer, std::int64_t global_step)
    : chunks_(pieces), optimizer_(optimizer), global_step_(global_step) {
  const auto size = static_cast<std::size_t>(chunks_.num_floats());
  parameters_.resize(size);
  slots_.resize(slot_names(optimizer.kind).size());
  for (auto& slot : slots_) slot.resize(size);
}

std::span<float> VariableStore::values(std::size_t slot, std::size_t chunk) {
  assert(slot <= slots_.size());
  return slice(std::span(slot == 0 ? parameters_ : slots_[slot - 1]), chunks_.local(chunk));
}

std::span<const float> VariableStore::values(std::size_t slot, std::size_t chunk) const {
  return const_cast<VariableStore*>(this)->values(slot, chunk);
}

void VariableStore::begin_update(float rate_factor) {
  ++global_step_;
  ++commit_;
  rate_factor_ = rate_factor;
}

void VariableStore::apply(std::size_t chunk, std::span<const float> gradient, std::span<float> updated) {
  constexpr std::size_t kMaxSlots = 2;
  std::array<std::span<float>, kMaxSlots> slots;
  assert(slots_.size() <= kMaxSlots);
  for (std::size_t i = 0; i < slots_.size(); ++i) slots[i] = values(i + 1, chunk);
  apply_update(optimizer_, global_step_, values(0, chunk), std::span(slots).first(slots_.size()), gradient, updated,
               rate_factor_);
}

}  // namespace distmnist
