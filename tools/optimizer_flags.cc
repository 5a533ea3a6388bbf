#include "tools/optimizer_flags.h"

#include "lib/base/error.h"
#include "tools/preset.h"

namespace distmnist {
namespace {

constexpr std::int64_t kMaxSteps = std::int64_t{1} << 53;

void require_steps(const char* flag, std::int64_t value, const char* meaning_of_zero) {
  if (value < 0 || value > kMaxSteps) {
    fail(ExitCode::kUsage, "--{}={}: give 0 ({}) to 2^53 steps", flag, value, meaning_of_zero);
  }
}

[[noreturn]] void fail_without_effect(const char* flag, double value, const Flags& flags, const char* optimizers) {
  fail(ExitCode::kUsage, "--{}={} has no effect with --optimizer={}; leave it out or pass --optimizer={}", flag, value,
       to_string(flags.training.optimizer), optimizers);
}

void check_momentum(const Flags& flags, OptimizerKind optimizer) {
  if (flags.training.nesterov && optimizer != OptimizerKind::kMomentum) {
    fail(ExitCode::kUsage, "--nesterov has no effect with --optimizer={}; leave it out or pass --optimizer=momentum",
         to_string(flags.training.optimizer));
  }
  if (!flags.training.momentum) return;
  if (!(*flags.training.momentum >= 0 && *flags.training.momentum <= 1)) {
    fail(ExitCode::kUsage, "--momentum={}: give a number from 0 to 1", *flags.training.momentum);
  }
  if (optimizer != OptimizerKind::kMomentum && optimizer != OptimizerKind::kRmsprop) {
    fail_without_effect("momentum", *flags.training.momentum, flags, "momentum or rmsprop");
  }
}

// Values from a preset are allowed with other optimizers.
void check_adam(const Flags& flags, OptimizerKind optimizer) {
  const Flags preset = flags_of_preset(flags.training.preset);
  const auto check = [&](const char* flag, double value, double of_preset) {
    if (!(value >= 0 && static_cast<float>(value) < 1))
      fail(ExitCode::kUsage, "--{}={}: give a number from 0 to below 1", flag, value);
    if (value != of_preset && optimizer != OptimizerKind::kAdam) fail_without_effect(flag, value, flags, "adam");
  };
  check("adam_beta1", flags.training.adam_beta1, preset.training.adam_beta1);
  check("adam_beta2", flags.training.adam_beta2, preset.training.adam_beta2);
}

void check_schedule(const Flags& flags, LearningRateSchedule schedule) {
  require_steps("decay_steps", flags.training.decay_steps, "all of --train_steps");
  require_steps("learning_rate_warmup_steps", flags.training.learning_rate_warmup_steps, "no warm-up");
  if (flags.training.decay_steps > 0 && schedule == LearningRateSchedule::kConstant) {
    fail(ExitCode::kUsage,
         "--decay_steps={} has no effect with a constant learning rate; leave it out or pass --learning_rate_schedule",
         flags.training.decay_steps);
  }
  if (!flags.training.decay_rate) return;
  if (!(*flags.training.decay_rate > 0 && *flags.training.decay_rate <= 1)) {
    fail(ExitCode::kUsage, "--decay_rate={}: give a number above 0, at most 1", *flags.training.decay_rate);
  }
  if (schedule != LearningRateSchedule::kExponential && schedule != LearningRateSchedule::kStaircase) {
    fail(ExitCode::kUsage,
         "--decay_rate={} has no effect with --learning_rate_schedule={}; leave it out or choose exponential or "
         "staircase",
         *flags.training.decay_rate, to_string(flags.training.learning_rate_schedule));
  }
}

}  // namespace

void check_optimizer_flags(const Flags& flags) {
  if (!(static_cast<float>(flags.training.learning_rate) > 0) || flags.training.learning_rate > 1e6) {
    fail(ExitCode::kUsage, "--learning_rate={}: give a number above 0, at most 1e6", flags.training.learning_rate);
  }
  const OptimizerKind optimizer = flags.training.optimizer;
  check_momentum(flags, optimizer);
  check_adam(flags, optimizer);
  check_schedule(flags, flags.training.learning_rate_schedule);
}

OptimizerSpec optimizer_of(const Flags& flags) {
  OptimizerSpec spec = default_optimizer(flags.training.optimizer);
  if (flags.training.momentum) spec.momentum = static_cast<float>(*flags.training.momentum);
  spec.nesterov = flags.training.nesterov;
  if (spec.kind == OptimizerKind::kAdam) {
    spec.beta1 = static_cast<float>(flags.training.adam_beta1);
    spec.beta2 = static_cast<float>(flags.training.adam_beta2);
  }
  LearningRate& rate = spec.learning_rate;
  rate = static_cast<float>(flags.training.learning_rate);
  rate.schedule = flags.training.learning_rate_schedule;
  rate.warmup_steps = flags.training.learning_rate_warmup_steps;
  if (rate.schedule != LearningRateSchedule::kConstant) {
    rate.decay_steps = flags.training.decay_steps > 0 ? flags.training.decay_steps : flags.training.train_steps;
  }
  if (flags.training.decay_rate) rate.decay_rate = static_cast<float>(*flags.training.decay_rate);
  return spec;
}

}  // namespace distmnist
