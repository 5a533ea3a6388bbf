#include "lib/backend/cpu/parameters.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "lib/backend/cpu/builtin/rounding.h"
#include "lib/math/half.h"
#include "lib/math/simd.h"

namespace distmnist::cpu {
namespace {

// Calls work(variable, its part of `range`, the first number of that part in `range`).
template <typename Variables, typename Work>
void for_parts(Variables& variables, Range range, const Work& work) {
  for (auto& variable : variables) {
    const std::int64_t begin = std::max(range.offset, variable.range.offset);
    const std::int64_t end = std::min(range.end(), variable.range.end());
    if (begin < end) work(variable, Range{begin, end - begin}, static_cast<std::size_t>(begin - range.offset));
  }
}

}  // namespace

Parameters::Parameters(const Graph& graph, bool rounded)
    : rounds_(rounded),
      values_(static_cast<std::size_t>(graph.num_parameters)),
      gradients_(static_cast<std::size_t>(graph.num_parameters)) {
  for (const Variable& variable : graph.variables) variables_.push_back({variable.range});
}

void Parameters::load(Range range, std::span<const float> values) {
  for_parts(variables_, range, [&](Tracked& variable, Range part, std::size_t first) {
    update_floats(variable);
    const auto floats = values.subspan(first, static_cast<std::size_t>(part.size));
    std::ranges::copy(floats, address(part));
    const bool current = variable.tiles_version == variable.version++;
    if (!current) return;
    variable.tiles->load(part.offset - variable.range.offset, floats);
    variable.tiles_version = variable.version;
  });
  round(range);
}

void Parameters::load_bf16(Range range, std::span<const std::uint16_t> values) {
  for_parts(variables_, range, [&](Tracked& variable, Range part, std::size_t first) {
    const auto halves = values.subspan(first, static_cast<std::size_t>(part.size));
    const bool current = variable.tiles_version == variable.version++;
    if (!current) {
      f32_from_bf16(halves, {address(part), halves.size()});
      return round(part);
    }
    variable.tiles->load(part.offset - variable.range.offset, halves);
    variable.tiles_version = variable.version;
    variable.only_in_tiles = true;
  });
}

void Parameters::read(Range range, std::span<float> values) const {
  for_parts(variables_, range, [&](const Tracked& variable, Range part, std::size_t first) {
    const auto to = values.subspan(first, static_cast<std::size_t>(part.size));
    if (variable.only_in_tiles) {
      variable.tiles->read(part.offset - variable.range.offset, to);
    } else {
      std::ranges::copy(slice(values_.span(), part), to.begin());
    }
  });
}

Parameters::Tracked& Parameters::tracked(Range variable) {
  return *std::ranges::find(variables_, variable, &Tracked::range);
}
const Parameters::Tracked& Parameters::tracked(Range variable) const {
  return *std::ranges::find(variables_, variable, &Tracked::range);
}

void Parameters::update_floats(Tracked& variable) {
  if (!std::exchange(variable.only_in_tiles, false)) return;
  variable.tiles->read(0, {address(variable.range), static_cast<std::size_t>(variable.range.size)});
}

std::uint64_t Parameters::version(Range variable) const {
  return tracked(variable).version;
}

float* Parameters::factors(Range variable) {
  if (!rounds_) return address(variable);
  FloatBuffer& rounded = tracked(variable).rounded;
  if (rounded.size() == 0) {
    rounded = FloatBuffer(static_cast<std::size_t>(variable.size));
    round(variable);
  }
  return rounded.data();
}

TileMatrix& Parameters::tiles(Range variable, const AmxKernels& kernels, std::int64_t rows, std::int64_t columns,
                              int planes) {
  std::unique_ptr<TileMatrix>& tiles = tracked(variable).tiles;
  if (!tiles) tiles = std::make_unique<TileMatrix>(kernels, rows, columns, planes);
  return *tiles;
}

bool Parameters::tiles_are_current(Range variable) const {
  return tracked(variable).tiles_version == tracked(variable).version;
}

void Parameters::note_tiles_packed(Range variable, std::uint64_t changes) {
  tracked(variable).tiles_version = tracked(variable).version + changes;
}

std::span<const std::uint16_t> Parameters::round_gradients() {
  if (!rounds_gradients()) rounded_gradients_ = NumberBuffer<std::uint16_t>(gradients_.size());
  return rounded_gradients_.span();
}

void Parameters::put_gradient(Range range, const float* gradient) {
  const std::span<const float> floats(gradient, static_cast<std::size_t>(range.size));
  if (rounds_gradients()) {
    bf16_from_f32(floats, slice(rounded_gradients_.span(), range));
  } else {
    std::ranges::copy(floats, gradient_address(range));
  }
}

void Parameters::finish_gradient(Range variable) {
  if (!rounds_gradients() || tracked(variable).tiles) return;
  bf16_from_f32(gradients(variable), slice(rounded_gradients_.span(), variable));
}

void Parameters::start(const OptimizerSpec& optimizer, std::span<const std::span<const float>> slots) {
  for (Tracked& variable : variables_) update_floats(variable);
  optimizer_ = optimizer;
  rule_ = update_rule(optimizer);
  slots_.resize(slots.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots_[i].size() != slots[i].size()) slots_[i] = FloatBuffer(slots[i].size());
    std::ranges::copy(slots[i], slots_[i].data());
  }
}

void Parameters::update(Range range, const float* gradient) {
  assert(std::ranges::none_of(variables_, &Tracked::only_in_tiles));
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
  for_parts(variables_, range, [&](Tracked& variable, Range part, std::size_t) {
    if (variable.rounded.size() == 0) return;
    round_to_bf16(slice(values_.span(), part), variable.rounded.data() + (part.offset - variable.range.offset));
  });
}

}  // namespace distmnist::cpu
