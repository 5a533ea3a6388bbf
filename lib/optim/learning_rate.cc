#include "lib/optim/learning_rate.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <numbers>

#include "lib/base/error.h"

namespace distmnist {
namespace {

// In enumeration order.
constexpr std::array<std::string_view, 5> kNames = {"constant", "exponential", "staircase", "cosine", "one_cycle"};

// From `from` to `to` as `share` goes from 0 to 1.
double half_cosine(double from, double to, double share) {
  return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * share));
}

double one_cycle_at(double step, double steps) {
  const double peak = kOneCycleRise * steps - 1;  // below 0 in a run too short to have a rise
  const double last = steps - 1;
  if (step <= peak) return half_cosine(1 / kOneCycleFirstDivisor, 1, step / peak);
  return half_cosine(1, 1 / kOneCycleLastDivisor, (std::min(step, last) - peak) / (last - peak));
}

double decay_at(const LearningRate& rate, std::int64_t global_step) {
  if (rate.schedule == LearningRateSchedule::kConstant) return 1;
  assert(rate.decay_steps > 0);
  const auto step = static_cast<double>(global_step), steps = static_cast<double>(rate.decay_steps);
  const double periods = step / steps;
  switch (rate.schedule) {
    case LearningRateSchedule::kConstant:
      return 1;
    case LearningRateSchedule::kExponential:
      return std::pow(static_cast<double>(rate.decay_rate), periods);
    case LearningRateSchedule::kStaircase:
      return std::pow(static_cast<double>(rate.decay_rate), std::floor(periods));
    case LearningRateSchedule::kCosine:
      return 0.5 * (1 + std::cos(std::numbers::pi * std::min(periods, 1.0)));
    case LearningRateSchedule::kOneCycle:
      return one_cycle_at(step, steps);
  }
  fail(ExitCode::kInternal, "no learning rate schedule has number {}", static_cast<int>(rate.schedule));
}

}  // namespace

LearningRateSchedule parse_learning_rate_schedule(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end()) {
    fail(ExitCode::kUsage,
         "unknown learning rate schedule '{}': choose constant, exponential, staircase, cosine or one_cycle", name);
  }
  return static_cast<LearningRateSchedule>(found - kNames.begin());
}

std::string_view to_string(LearningRateSchedule schedule) {
  const auto number = static_cast<std::size_t>(schedule);
  if (number >= kNames.size()) fail(ExitCode::kInternal, "no learning rate schedule has number {}", number);
  return kNames[number];
}

double learning_rate_at(const LearningRate& rate, std::int64_t global_step) {
  assert(global_step >= 0);
  const double warmup = global_step + 1 < rate.warmup_steps
                            ? static_cast<double>(global_step + 1) / static_cast<double>(rate.warmup_steps)
                            : 1.0;
  return rate.base * decay_at(rate, global_step) * warmup;
}

std::optional<std::string> fault_of(const LearningRate& rate) {
  if (static_cast<std::size_t>(rate.schedule) >= kNames.size()) return "an unknown learning rate schedule";
  if (!std::isfinite(rate.base)) return "a learning rate that is not a number";
  if (!std::isfinite(rate.decay_rate) || rate.decay_rate <= 0) return "a decay rate that is not above 0";
  if (rate.schedule != LearningRateSchedule::kConstant && rate.decay_steps <= 0) return "a decay over no steps";
  if (rate.warmup_steps < 0) return "a warm-up of fewer than 0 steps";
  return std::nullopt;
}

}  // namespace distmnist
