#include "lib/optim/learning_rate.h"

#include <limits>

#include "lib/base/error.h"
#include "tests/golden/learning_rate_golden.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

namespace distmnist {
namespace {

// First TensorFlow's schedules, in the order of the golden numbers; then all schedules.
constexpr LearningRateSchedule kTensorFlowSchedules[] = {
    LearningRateSchedule::kConstant, LearningRateSchedule::kExponential, LearningRateSchedule::kStaircase,
    LearningRateSchedule::kCosine};
constexpr LearningRateSchedule kSchedules[] = {LearningRateSchedule::kConstant, LearningRateSchedule::kExponential,
                                               LearningRateSchedule::kStaircase, LearningRateSchedule::kCosine,
                                               LearningRateSchedule::kOneCycle};

LearningRate rate_of(LearningRateSchedule schedule) {
  LearningRate rate = golden::kBase;
  rate.schedule = schedule;
  rate.decay_steps = golden::kDecaySteps;
  rate.decay_rate = golden::kDecayRate;
  return rate;
}

}  // namespace

TEST_CASE("schedules follow TensorFlow's numbers") {
  REQUIRE(golden::kScheduleCases.size() == std::size(kTensorFlowSchedules));
  for (const golden::ScheduleCase& expected : golden::kScheduleCases) {
    const LearningRate rate = rate_of(parse_learning_rate_schedule(expected.schedule));
    REQUIRE(expected.rates.size() == golden::kSteps.size());
    for (std::size_t i = 0; i < golden::kSteps.size(); ++i) {
      INFO(expected.schedule << " at step " << golden::kSteps[i]);
      // TensorFlow computes in single precision.
      CHECK(learning_rate_at(rate, golden::kSteps[i]) == Approx(expected.rates[i]).epsilon(1e-6).margin(1e-8));
    }
  }
}

TEST_CASE("a number is an exactly constant learning rate") {
  const LearningRate rate = 0.1f;
  for (const std::int64_t step : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1} << 53}) {
    CHECK(learning_rate_at(rate, step) == static_cast<double>(0.1f));
  }
}

TEST_CASE("a warm-up rises linearly to the schedule's rate, and the schedule keeps its own step count") {
  for (const LearningRateSchedule schedule : kSchedules) {
    const LearningRate plain = rate_of(schedule);
    LearningRate warm = plain;
    warm.warmup_steps = 4;
    INFO(to_string(schedule));
    CHECK(learning_rate_at(warm, 0) == Approx(0.25 * learning_rate_at(plain, 0)));
    CHECK(learning_rate_at(warm, 1) == Approx(0.5 * learning_rate_at(plain, 1)));
    CHECK(learning_rate_at(warm, 2) == Approx(0.75 * learning_rate_at(plain, 2)));
    for (const std::int64_t step : {3, 4, 50, 200})
      CHECK(learning_rate_at(warm, step) == learning_rate_at(plain, step));
    warm.warmup_steps = 1;
    CHECK(learning_rate_at(warm, 0) == learning_rate_at(plain, 0));
  }
}

TEST_CASE("a cosine ends at zero and stays there") {
  const LearningRate rate = rate_of(LearningRateSchedule::kCosine);
  CHECK(learning_rate_at(rate, 99) > 0);
  CHECK(learning_rate_at(rate, 100) == Approx(0).margin(1e-12));
  CHECK(learning_rate_at(rate, 1'000'000) == learning_rate_at(rate, 100));
}

// torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=kBase, total_steps=T), PyTorch 2.15, in double precision.
TEST_CASE("one cycle follows PyTorch's numbers") {
  struct Case {
    std::int64_t decay_steps, step;
    double rate;
  };
  const Case cases[] = {
      {100, 0, 0.002000000029802322}, {100, 1, 0.0021406890601941217},   {100, 28, 0.04985931171466626},
      {100, 29, 0.05000000074505806}, {100, 30, 0.049974827508909164},   {100, 37, 0.04840587886381016},
      {100, 50, 0.03969467312028331}, {100, 98, 2.5373236151880073e-05}, {100, 99, 2.0000000298023226e-07},
      {10, 1, 0.02600000038743019},   {3, 0, 0.04972077251344282},       {3, 1, 0.023131855478040253},
      {1, 0, 2.0000000298023226e-07}};
  for (const Case& each : cases) {
    LearningRate rate = rate_of(LearningRateSchedule::kOneCycle);
    rate.decay_steps = each.decay_steps;
    INFO("step " << each.step << " of " << each.decay_steps);
    CHECK(learning_rate_at(rate, each.step) == Approx(each.rate).epsilon(1e-9));
  }
}

TEST_CASE("one cycle stays at its last rate") {
  const LearningRate rate = rate_of(LearningRateSchedule::kOneCycle);
  CHECK(learning_rate_at(rate, 98) > learning_rate_at(rate, 99));
  CHECK(learning_rate_at(rate, 100) == learning_rate_at(rate, 99));
  CHECK(learning_rate_at(rate, 1'000'000) == learning_rate_at(rate, 99));
}

TEST_CASE("schedules are read by name") {
  for (const LearningRateSchedule schedule : kSchedules) {
    CHECK(parse_learning_rate_schedule(to_string(schedule)) == schedule);
  }
  CHECK(fails_with(
      ExitCode::kUsage,
      "unknown learning rate schedule 'linear': choose constant, exponential, staircase, cosine or one_cycle",
      [] { parse_learning_rate_schedule("linear"); }));
}

TEST_CASE("a schedule that cannot be evaluated is reported with the reason") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const LearningRateSchedule schedule : kSchedules) CHECK_FALSE(fault_of(rate_of(schedule)).has_value());
  CHECK_FALSE(fault_of(LearningRate(0.1f)).has_value());
  CHECK(fault_of(LearningRate(nan)) == "a learning rate that is not a number");
  LearningRate rate = rate_of(LearningRateSchedule::kExponential);
  rate.decay_steps = 0;
  CHECK(fault_of(rate) == "a decay over no steps");
  rate = rate_of(LearningRateSchedule::kExponential);
  for (const float wrong : {nan, 0.0f, -0.5f}) {
    rate.decay_rate = wrong;
    CHECK(fault_of(rate) == "a decay rate that is not above 0");
  }
  rate = 0.1f;
  rate.warmup_steps = -1;
  CHECK(fault_of(rate) == "a warm-up of fewer than 0 steps");
  rate = 0.1f;
  rate.schedule = static_cast<LearningRateSchedule>(5);
  CHECK(fault_of(rate) == "an unknown learning rate schedule");
}

}  // namespace distmnist
