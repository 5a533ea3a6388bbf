#include "lib/optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "lib/base/error.h"
#include "lib/base/join.h"
#include "lib/math/simd.h"
#include "lib/optim/update_rules.h"

namespace distmnist {
namespace {

struct Slot {
  std::string_view name;
  float start;
};

constexpr std::array kMomentumSlots = {Slot{"momentum", 0.0f}};
constexpr std::array kAdamSlots = {Slot{"m", 0.0f}, Slot{"v", 0.0f}};
constexpr std::array kAdagradSlots = {Slot{"accumulator", 0.1f}};
constexpr std::array kRmspropSlots = {Slot{"rms", 1.0f}, Slot{"momentum", 0.0f}};

struct KindInfo {
  std::string_view name;
  std::span<const Slot> slots;
};

// In enumeration order.
constexpr std::array kKinds = {
    KindInfo{"sgd", {}},
    KindInfo{"momentum", kMomentumSlots},
    KindInfo{"adam", kAdamSlots},
    KindInfo{"adagrad", kAdagradSlots},
    KindInfo{"rmsprop", kRmspropSlots},
};

constexpr std::array kAllOptimizers = [] {
  std::array<OptimizerKind, kKinds.size()> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<OptimizerKind>(i);
  return all;
}();

bool is_known(OptimizerKind kind) {
  return static_cast<std::size_t>(kind) < kKinds.size();
}

const KindInfo& info_of(OptimizerKind kind) {
  if (!is_known(kind)) fail(ExitCode::kInternal, "no optimizer has number {}", static_cast<int>(kind));
  return kKinds[static_cast<std::size_t>(kind)];
}

// 1 - beta^t, exact to double precision where beta^t is close to 1.
double one_minus_power(float beta, std::int64_t t) {
  return -std::expm1(static_cast<double>(t) * std::log(static_cast<double>(beta)));
}

UpdateArrays arrays_of(const UpdateSpans& spans) {
  const std::size_t size = spans.parameters.size();
  assert(spans.gradient.size() == size && spans.updated.size() == size);
  for ([[maybe_unused]] const std::span<float> slot : spans.slots) assert(slot.size() == size);
  return {.parameters = spans.parameters.data(),
          .first_slot = spans.slots.size() > 0 ? spans.slots[0].data() : nullptr,
          .second_slot = spans.slots.size() > 1 ? spans.slots[1].data() : nullptr,
          .gradient = spans.gradient.data(),
          .updated = spans.updated.data(),
          .size = size};
}

}  // namespace

std::span<const OptimizerKind> all_optimizers() {
  return kAllOptimizers;
}

OptimizerKind parse_optimizer(std::string_view name) {
  const auto found = std::ranges::find(kKinds, name, &KindInfo::name);
  if (found == kKinds.end()) fail(ExitCode::kUsage, "unknown optimizer '{}': choose {}", name, optimizer_choices());
  return static_cast<OptimizerKind>(found - kKinds.begin());
}

std::string_view to_string(OptimizerKind kind) {
  return info_of(kind).name;
}

std::string optimizer_choices() {
  std::vector<std::string> names;
  for (const KindInfo& kind : kKinds) names.emplace_back(kind.name);
  return join_choices(names);
}

OptimizerSpec default_optimizer(OptimizerKind kind) {
  OptimizerSpec spec;
  spec.kind = kind;
  if (kind == OptimizerKind::kRmsprop) {
    spec.momentum = 0.0f;
    spec.epsilon = 1e-10f;
  }
  return spec;
}

std::vector<std::string> slot_names(OptimizerKind kind) {
  std::vector<std::string> names;
  for (const Slot& slot : info_of(kind).slots) names.emplace_back(slot.name);
  return names;
}

std::vector<float> slot_start_values(OptimizerKind kind) {
  std::vector<float> values;
  for (const Slot& slot : info_of(kind).slots) values.push_back(slot.start);
  return values;
}

std::optional<std::string> fault_of(const OptimizerSpec& spec) {
  if (!is_known(spec.kind)) return "an unknown optimizer";
  for (const float constant : {spec.momentum, spec.beta1, spec.beta2, spec.decay, spec.epsilon}) {
    if (!std::isfinite(constant)) return "an optimizer constant that is not a number";
  }
  return fault_of(spec.learning_rate);
}

float update_rate(const OptimizerSpec& spec, std::int64_t t, float rate_factor) {
  double rate = rate_factor * learning_rate_at(spec.learning_rate, t - 1);
  if (spec.kind == OptimizerKind::kAdam) {
    rate = rate * std::sqrt(one_minus_power(spec.beta2, t)) / one_minus_power(spec.beta1, t);
  }
  return static_cast<float>(rate);
}

void apply_update(const OptimizerSpec& spec, std::int64_t t, const UpdateSpans& spans, float rate_factor) {
  assert(t >= 1 && spans.slots.size() == slot_names(spec.kind).size());
  const float rate = update_rate(spec, t, rate_factor);
  const ScopedFlushDenormals flush_denormals;
  update_rule(spec)(arrays_of(spans), spec, rate);
}

void apply_update_portable(const OptimizerSpec& spec, std::int64_t t, const UpdateSpans& spans, float rate_factor) {
  assert(t >= 1 && spans.slots.size() == slot_names(spec.kind).size());
  const float rate = update_rate(spec, t, rate_factor);
  const ScopedFlushDenormals flush_denormals;
  portable_update_rule(spec)(arrays_of(spans), spec, rate);
}

}  // namespace distmnist
