#include "tools/optimizer_flags.h"

#include <limits>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tools/preset.h"

using namespace distmnist;

namespace {

// True if these flags are refused in one sentence that contains the text.
bool is_refused(const Flags& flags, const std::string& text) {
  const auto error = error_of([&] { check_optimizer_flags(flags); });
  INFO((error ? error->what() : "accepted"));
  const bool refused = fails_with(ExitCode::kUsage, text, [&] { check_optimizer_flags(flags); });
  CHECK(refused);
  return refused;
}

Flags with_schedule(const std::string& schedule) {
  Flags flags;
  flags.training.learning_rate_schedule = parse_learning_rate_schedule(schedule);
  return flags;
}

Flags with_optimizer(const std::string& optimizer) {
  Flags flags;
  flags.training.optimizer = parse_optimizer(optimizer);
  return flags;
}

}  // namespace

TEST_CASE("by default the optimizer is the tutorials': Adam with a constant rate of 1e-4") {
  check_optimizer_flags(Flags{});
  const OptimizerSpec spec = optimizer_of(Flags{});
  CHECK(spec == default_optimizer(OptimizerKind::kAdam));
  CHECK(spec.learning_rate == LearningRate(1e-4f));
}

TEST_CASE("without a given momentum the optimizer's default is used") {
  CHECK(optimizer_of(with_optimizer("momentum")).momentum == 0.9f);
  CHECK(optimizer_of(with_optimizer("rmsprop")).momentum == 0.0f);
  for (const char* optimizer : {"momentum", "rmsprop"}) {
    Flags flags = with_optimizer(optimizer);
    flags.training.momentum = 0.5;
    check_optimizer_flags(flags);
    CHECK(optimizer_of(flags).momentum == 0.5f);
    CHECK(to_string(optimizer_of(flags).kind) == optimizer);
  }
}

TEST_CASE("flags of a different optimizer are refused, not ignored") {
  for (const OptimizerKind kind : all_optimizers()) {
    if (kind == OptimizerKind::kMomentum || kind == OptimizerKind::kRmsprop) continue;
    Flags flags;
    flags.training.optimizer = kind;
    flags.training.momentum = 0.5;
    CHECK(is_refused(flags, fmt::format("--momentum=0.5 has no effect with --optimizer={}", to_string(kind))));
  }
  Flags flags = with_optimizer("momentum");
  flags.training.nesterov = true;
  check_optimizer_flags(flags);
  CHECK(optimizer_of(flags).nesterov);
  flags.training.optimizer = OptimizerKind::kRmsprop;
  CHECK(is_refused(flags, "--nesterov has no effect with --optimizer=rmsprop"));
}

TEST_CASE("the decay rates of adam's means can be set") {
  Flags flags;
  check_optimizer_flags(flags);
  CHECK(optimizer_of(flags) == [] {
    OptimizerSpec spec;
    spec.learning_rate = 1e-4f;
    return spec;
  }());
  flags.training.adam_beta1 = 0.8;
  flags.training.adam_beta2 = 0.95;
  check_optimizer_flags(flags);
  CHECK(optimizer_of(flags).beta1 == 0.8f);
  CHECK(optimizer_of(flags).beta2 == 0.95f);
  flags.training.optimizer = OptimizerKind::kSgd;
  CHECK(is_refused(flags, "--adam_beta1=0.8 has no effect with --optimizer=sgd"));
  flags.training.adam_beta1 = Flags{}.training.adam_beta1;
  CHECK(is_refused(flags, "--adam_beta2=0.95 has no effect with --optimizer=sgd"));
}

TEST_CASE("numbers are in range as the floats that training uses") {
  Flags flags;
  flags.training.adam_beta2 = 0.99999999;  // 1 as a float
  CHECK(is_refused(flags, "give a number from 0 to below 1"));
  flags.training.adam_beta2 = 0.9999;
  check_optimizer_flags(flags);
  flags.training.learning_rate = 1e-46;  // 0 as a float
  CHECK(is_refused(flags, "give a number above 0, at most 1e6"));
}

TEST_CASE("a preset's constants for adam are ignored with a different optimizer") {
  Flags flags = flags_of_preset("fast");
  REQUIRE(flags.training.adam_beta2 != Flags{}.training.adam_beta2);
  CHECK(optimizer_of(flags).beta2 == static_cast<float>(flags.training.adam_beta2));
  flags.training.optimizer = OptimizerKind::kMomentum;
  check_optimizer_flags(flags);
  CHECK(optimizer_of(flags).beta2 == OptimizerSpec{}.beta2);
  flags.training.adam_beta2 = 0.5;
  CHECK(is_refused(flags, "--adam_beta2=0.5 has no effect"));
}

TEST_CASE("a schedule uses the steps of the run unless its own are given") {
  for (const char* schedule : {"exponential", "staircase", "cosine", "one_cycle"}) {
    Flags flags = with_schedule(schedule);
    flags.training.train_steps = 700;
    flags.training.learning_rate_warmup_steps = 9;
    check_optimizer_flags(flags);
    const LearningRate rate = optimizer_of(flags).learning_rate;
    CHECK(to_string(rate.schedule) == schedule);
    CHECK(rate.decay_steps == 700);
    CHECK(rate.decay_rate == 0.96f);
    CHECK(rate.warmup_steps == 9);
    flags.training.decay_steps = 50;
    check_optimizer_flags(flags);
    CHECK(optimizer_of(flags).learning_rate.decay_steps == 50);
  }
}

TEST_CASE("a decay without a schedule that uses it is refused") {
  Flags flags;
  flags.training.decay_steps = 50;
  CHECK(is_refused(flags, "--decay_steps=50 has no effect with a constant learning rate"));
  for (const char* schedule : {"constant", "cosine", "one_cycle"}) {
    flags = with_schedule(schedule);
    flags.training.decay_rate = 0.5;
    CHECK(is_refused(flags, fmt::format("--decay_rate=0.5 has no effect with --learning_rate_schedule={}", schedule)));
  }
  for (const char* schedule : {"exponential", "staircase"}) {
    flags = with_schedule(schedule);
    flags.training.decay_rate = 0.5;
    check_optimizer_flags(flags);
    CHECK(optimizer_of(flags).learning_rate.decay_rate == 0.5f);
  }
}

TEST_CASE("values out of range are reported in one sentence that names them") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Flags flags;
  for (const double rate : {0.0, -1.0, 1e7, nan}) {
    flags.training.learning_rate = rate;
    CHECK(is_refused(flags, fmt::format("--learning_rate={}: ", rate)));
  }
  flags = with_optimizer("momentum");
  for (const double momentum : {-0.1, 1.5, nan}) {
    flags.training.momentum = momentum;
    CHECK(is_refused(flags, fmt::format("--momentum={}: ", momentum)));
  }
  flags = Flags{};
  for (const double beta : {-0.1, 1.0, nan}) {
    flags.training.adam_beta2 = beta;
    CHECK(is_refused(flags, fmt::format("--adam_beta2={}: ", beta)));
  }
  flags = with_schedule("exponential");
  for (const double rate : {0.0, -0.5, 1.5, nan}) {
    flags.training.decay_rate = rate;
    CHECK(is_refused(flags, fmt::format("--decay_rate={}: ", rate)));
  }
  flags = with_schedule("cosine");
  flags.training.decay_steps = -1;
  CHECK(is_refused(flags, "--decay_steps=-1: "));
  flags = Flags{};
  flags.training.learning_rate_warmup_steps = -5;
  CHECK(is_refused(flags, "--learning_rate_warmup_steps=-5: "));
  CHECK(fails_with(ExitCode::kUsage, "'newton'", [] { with_optimizer("newton"); }));
  CHECK(fails_with(ExitCode::kUsage, "'linear'", [] { with_schedule("linear"); }));
}
