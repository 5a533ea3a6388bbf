// LearningRate: the learning rate as a function of global_step. Formulas of TensorFlow 1.x: tf.train.exponential_decay
// and tf.train.cosine_decay with alpha 0; and of PyTorch: OneCycleLR with its defaults (Smith, Topin,
// "Super-convergence", arXiv 1708.07120). Only its rate is used: the momentum is not cycled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace distmnist {

enum class LearningRateSchedule : std::uint8_t {
  kConstant = 0,
  kExponential = 1,
  kStaircase = 2,
  kCosine = 3,
  kOneCycle = 4
};

// For one_cycle: the share of decay_steps in which the rate rises, and the divisors of the peak at the first step and
// at the last one. PyTorch's pct_start, div_factor, and div_factor times final_div_factor.
inline constexpr double kOneCycleRise = 0.3, kOneCycleFirstDivisor = 25, kOneCycleLastDivisor = 25 * 1e4;

struct LearningRate {
  LearningRate() = default;
  LearningRate(float constant) : base(constant) {}  // Not explicit: a number is a learning rate.

  LearningRateSchedule schedule = LearningRateSchedule::kConstant;
  float base = 1e-4f;
  std::int64_t decay_steps = 0;   // above 0 for all but constant
  float decay_rate = 0.96f;       // exponential and staircase
  std::int64_t warmup_steps = 0;  // for every schedule; 0: none

  bool operator==(const LearningRate&) const = default;
};

// "constant", "exponential", "staircase", "cosine", "one_cycle". Throws Error (kUsage), which lists the known names.
LearningRateSchedule parse_learning_rate_schedule(std::string_view name);
std::string_view to_string(LearningRateSchedule schedule);

// The rate of the update that follows `global_step` updates: 0 for the first. With s = global_step / decay_steps it is
//   constant:     base
//   exponential:  base decay_rate^s
//   staircase:    base decay_rate^floor(s)
//   cosine:       base (1 + cos(pi min(s, 1))) / 2
//   one_cycle:    from base / kOneCycleFirstDivisor up to base at step kOneCycleRise decay_steps - 1, then down to
//                 base / kOneCycleLastDivisor at step decay_steps - 1, where it stays; both ways half a cosine
// times min(1, (global_step + 1) / warmup_steps) for a linear warm-up, whose steps count for the decay, too.
double learning_rate_at(const LearningRate& rate, std::int64_t global_step);

// Why the rate cannot be evaluated, as a noun phrase ("a decay over no steps"); empty if it can.
std::optional<std::string> fault_of(const LearningRate& rate);

}  // namespace distmnist
