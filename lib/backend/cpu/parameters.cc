#include "lib/backend/cpu/parameters.h"

#include <algorithm>

#include "lib/backend/cpu/builtin/rounding.h"
#include "lib/math/simd.h"

namespace distmnist::cpu {

Parameters::Parameters(const Graph& graph, bool rounded)
    : rounds_(rounded),
      values_(static_cast<std::size_t>(graph.num_parameters)),
      gradients_(static_cast<std::size_t>(graph.num_parameters)) {
  for (const Variable& variable : graph.variables) variables_.push_back({variable.range});
}

void Parameters::load(Range range, std::span<const float> values) {
  std::ranges::copy(values, slice(values_.span(), range).begin());
  round(range);
  for (Tracked& variable : variables_) {
    if (variable.range.offset < range.end() && range.offset < variable.range.end()) ++variable.version;
  }
}

std::uint64_t Parameters::version(Range range) const {
  return std::ranges::find(variables_, range, &Tracked::range)->version;
}

float* Parameters::factors(Range variable) {
  if (!rounds_) return address(variable);
  FloatBuffer& rounded = std::ranges::find(variables_, variable, &Tracked::range)->rounded;
  if (rounded.size() == 0) {
    rounded = FloatBuffer(static_cast<std::size_t>(variable.size));
    round(variable);
  }
  return rounded.data();
}

void Parameters::start(const OptimizerSpec& optimizer, std::span<const std::span<const float>> slots) {
  optimizer_ = optimizer;
  rule_ = update_rule(optimizer);
  slots_.resize(slots.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots_[i].size() != slots[i].size()) slots_[i] = FloatBuffer(slots[i].size());
    std::ranges::copy(slots[i], slots_[i].data());
  }
}

void Parameters::update(Range range, const float* gradient) {
  const ScopedFlushDenormals flush_denormals;
  const auto slot = [&](std::size_t i) { return i < slots_.size() ? slots_[i].data() + range.offset : nullptr; };
  float* const values = address(range);
  rule_({values, slot(0), slot(1), gradient, values, static_cast<std::size_t>(range.size)}, optimizer_, rate_);
  round(range);
}

void Parameters::end_update() {
  for (Tracked& variable : variables_) ++variable.version;
}

void Parameters::round(Range range) {
  for (Tracked& variable : variables_) {
    const std::int64_t begin = std::max(range.offset, variable.range.offset);
    const std::int64_t end = std::min(range.end(), variable.range.end());
    if (variable.rounded.size() == 0 || begin >= end) continue;
    round_to_bf16(values({begin, end - begin}), variable.rounded.data() + (begin - variable.range.offset));
  }
}

}  // namespace distmnist::cpu
