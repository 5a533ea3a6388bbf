#include "lib/optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "tests/golden/optimizer_golden.h"
#include "tests/support/catch.h"
#include "tests/support/comparable_specs.h"

namespace distmnist {
namespace {

std::string name_of(const OptimizerSpec& spec) {
  return std::string(to_string(spec.kind)) + (spec.nesterov ? " (Nesterov)" : "");
}

// A block with its slots, and everything that an update needs.
struct State {
  std::vector<float> parameters;
  std::vector<std::vector<float>> slots;
  std::vector<float> gradient;
  std::vector<float> updated;

  bool operator==(const State&) const = default;
};

State random_state(OptimizerKind kind, std::size_t size, std::uint64_t seed = 1) {
  Random random(seed, size);
  const auto fill = [&](float low, float high) {
    std::vector<float> values(size);
    for (float& value : values) value = low + (high - low) * random.uniform();
    return values;
  };
  State state{fill(-1, 1), {}, fill(-0.1f, 0.1f), std::vector<float>(size)};
  // Positive, because a slot may be a mean of squares.
  while (state.slots.size() < slot_names(kind).size()) state.slots.push_back(fill(0.001f, 0.01f));
  return state;
}

using Apply = decltype(&apply_update);

// Applies update `t` to the floats [begin, begin + size) of the state.
void apply_range(const OptimizerSpec& spec, std::int64_t t, State& state, std::size_t begin, std::size_t size) {
  const auto piece = [&](std::vector<float>& values) { return std::span(values).subspan(begin, size); };
  std::vector<std::span<float>> slots;
  for (auto& slot : state.slots) slots.push_back(piece(slot));
  apply_update(spec, t, {piece(state.parameters), slots, piece(state.gradient), piece(state.updated)});
}

void apply_all(Apply apply, const OptimizerSpec& spec, std::int64_t t, State& state) {
  const std::vector<std::span<float>> slots(state.slots.begin(), state.slots.end());
  apply(spec, t, {state.parameters, slots, state.gradient, state.updated}, 1.0f);
}

OptimizerSpec spec_of(const golden::OptimizerCase& expected) {
  return {.kind = parse_optimizer(expected.optimizer),
          .learning_rate = static_cast<float>(expected.learning_rate),
          .momentum = static_cast<float>(expected.momentum),
          .nesterov = expected.nesterov,
          .beta1 = static_cast<float>(expected.beta1),
          .beta2 = static_cast<float>(expected.beta2),
          .decay = static_cast<float>(expected.decay),
          .epsilon = static_cast<float>(expected.epsilon)};
}

// The start state of the golden runs.
State golden_start(OptimizerKind kind) {
  const std::size_t size = golden::kStart.size();
  State state{{golden::kStart.begin(), golden::kStart.end()}, {}, std::vector<float>(size), std::vector<float>(size)};
  for (const float start : slot_start_values(kind)) state.slots.emplace_back(size, start);
  return state;
}

const OptimizerSpec kAdam = {.kind = OptimizerKind::kAdam, .learning_rate = 0.01f};

}  // namespace

TEST_CASE("updates follow TensorFlow's numbers") {
  for (const golden::OptimizerCase& expected : golden::kOptimizerCases) {
    const OptimizerSpec spec = spec_of(expected);
    for (const Apply apply : {&apply_update, &apply_update_portable}) {
      State state = golden_start(spec.kind);
      for (std::size_t step = 0; step < expected.parameters.size(); ++step) {
        state.gradient.assign(golden::kGradients[step].begin(), golden::kGradients[step].end());
        apply_all(apply, spec, static_cast<std::int64_t>(step) + 1, state);
        for (std::size_t i = 0; i < golden::kStart.size(); ++i) {
          INFO(name_of(spec) << ", learning rate " << expected.learning_rate << ", step " << step + 1 << ", number "
                             << i);
          const double want = expected.parameters[step][i];
          // The rounding of a few operations on the parameter and on the distance that it has moved.
          const double moved = std::abs(want - golden::kStart[i]);
          CHECK(std::abs(state.parameters[i] - want) <= 5e-7 * (std::abs(want) + std::abs(golden::kStart[i]) + moved));
        }
      }
    }
  }
}

TEST_CASE("the defaults are TensorFlow's") {
  for (const golden::OptimizerDefault& expected : golden::kOptimizerDefaults) {
    const OptimizerSpec spec = default_optimizer(parse_optimizer(expected.optimizer));
    const std::map<std::string, float> constants = {
        {"learning_rate", 1e-3f},  // the tutorials use 1e-4
        {"momentum", spec.momentum}, {"beta1", spec.beta1},
        {"beta2", spec.beta2},       {"decay", spec.decay},
        {"epsilon", spec.epsilon},   {"initial_accumulator_value", slot_start_values(OptimizerKind::kAdagrad)[0]},
    };
    INFO(expected.optimizer << " " << expected.constant);
    CHECK(constants.at(expected.constant) == static_cast<float>(expected.value));
  }
}

TEST_CASE("the version for this processor equals the portable one bit for bit") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    for (const std::size_t size : {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000, 4099}) {
      State fast = random_state(spec.kind, size);
      State portable = fast;
      for (std::int64_t t = 1; t <= 3; ++t) {
        apply_all(&apply_update, spec, t, fast);
        apply_all(&apply_update_portable, spec, t, portable);
      }
      INFO(name_of(spec) << " over " << size << " floats");
      CHECK(fast == portable);
      CHECK(fast.updated == fast.parameters);
    }
  }
}

TEST_CASE("shards of any size and alignment equal the whole block bit for bit") {
  constexpr std::size_t kSize = 1003;
  for (const OptimizerSpec& spec : comparable_specs()) {
    State whole = random_state(spec.kind, kSize);
    const State start = whole;
    apply_all(&apply_update, spec, 4, whole);
    for (const std::size_t step : {1, 3, 16, 17, 100, 501}) {
      State shards = start;
      for (std::size_t begin = 0; begin < kSize; begin += step) {
        apply_range(spec, 4, shards, begin, std::min(step, kSize - begin));
      }
      INFO(name_of(spec) << " in shards of " << step);
      CHECK(shards == whole);
    }
  }
}

TEST_CASE("an update does not change floats outside its range") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    const State before = random_state(spec.kind, 100);
    State after = before;
    apply_range(spec, 1, after, 33, 29);
    for (std::size_t i = 0; i < 100; ++i) {
      const bool inside = i >= 33 && i < 62;
      CHECK((after.parameters[i] != before.parameters[i]) == inside);
      CHECK((after.updated[i] != before.updated[i]) == inside);
      for (std::size_t slot = 0; slot < before.slots.size(); ++slot) {
        CHECK((after.slots[slot][i] != before.slots[slot][i]) == inside);
      }
    }
  }
}

TEST_CASE("the new parameters can be written over the gradient or over the parameters") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    for (const std::size_t size : {1, 5, 16, 67, 1003}) {
      State apart = random_state(spec.kind, size);
      State over_gradient = apart;
      State over_parameters = apart;
      const auto spans = [](State& state) {
        return std::vector<std::span<float>>(state.slots.begin(), state.slots.end());
      };
      apply_all(&apply_update, spec, 2, apart);
      apply_update(spec, 2,
                   {.parameters = over_gradient.parameters,
                    .slots = spans(over_gradient),
                    .gradient = over_gradient.gradient,
                    .updated = over_gradient.gradient});
      apply_update(spec, 2,
                   {.parameters = over_parameters.parameters,
                    .slots = spans(over_parameters),
                    .gradient = over_parameters.gradient,
                    .updated = over_parameters.parameters});
      INFO(name_of(spec) << " over " << size << " floats");
      CHECK(over_gradient.gradient == apart.updated);
      CHECK(over_gradient.parameters == apart.parameters);
      CHECK(over_gradient.slots == apart.slots);
      CHECK(over_parameters.parameters == apart.parameters);
      CHECK(over_parameters.slots == apart.slots);
    }
  }
}

TEST_CASE("the first step of Adam moves every parameter by the learning rate, whatever the gradient's size") {
  const OptimizerSpec spec{.learning_rate = 0.25f};
  State state{{1, 1, 1, 1}, {{0, 0, 0, 0}, {0, 0, 0, 0}}, {1e-3f, -2e3f, 5.0f, 0.0f}, {0, 0, 0, 0}};
  apply_all(&apply_update, spec, 1, state);
  CHECK(state.parameters[0] == Approx(0.75).epsilon(1e-3));
  CHECK(state.parameters[1] == Approx(1.25));
  CHECK(state.parameters[2] == Approx(0.75));
  CHECK(state.parameters[3] == 1.0f);
}

TEST_CASE("Adam's bias correction vanishes at large step numbers") {
  State late = random_state(OptimizerKind::kAdam, 50);
  State later = late;
  apply_all(&apply_update, kAdam, 1'000'000, late);
  apply_all(&apply_update, kAdam, 1'000'000'000'000, later);
  CHECK(late == later);
  for (const float p : late.parameters) CHECK(std::isfinite(p));
}

TEST_CASE("betas of zero are allowed") {
  const OptimizerSpec spec{.learning_rate = 0.5f, .beta1 = 0, .beta2 = 0};
  State state{{1}, {{9}, {9}}, {4}, {0}};
  apply_all(&apply_update, spec, 7, state);
  CHECK(state.slots[0][0] == 4.0f);
  CHECK(state.slots[1][0] == 16.0f);
  CHECK(state.parameters[0] == Approx(0.5));
}

#if defined(__SSE2__)
TEST_CASE("moments without a gradient decay, but not to denormals") {
  State state{{1}, {{1}, {1}}, {0}, {0}};
  for (std::int64_t t = 1; t <= 2000; ++t) apply_all(&apply_update, kAdam, t, state);
  CHECK(state.slots[0][0] < 1e-36f);
  CHECK(std::fpclassify(state.slots[0][0]) != FP_SUBNORMAL);
  // The caller's floating-point mode is unchanged.
  volatile float tiny = std::numeric_limits<float>::min();
  CHECK(tiny / 4 > 0);
}
#endif

TEST_CASE("NaN in a gradient reaches the parameter") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    State state = random_state(spec.kind, 40);
    state.gradient[17] = std::numeric_limits<float>::quiet_NaN();
    apply_all(&apply_update, spec, 1, state);
    for (std::size_t i = 0; i < 40; ++i) CHECK(std::isnan(state.updated[i]) == (i == 17));
  }
}

TEST_CASE("the learning rate depends on the number of earlier updates and is multiplied by the factor") {
  OptimizerSpec spec{.kind = OptimizerKind::kSgd, .learning_rate = 8.0f};
  spec.learning_rate.schedule = LearningRateSchedule::kStaircase;
  spec.learning_rate.decay_steps = 2;
  spec.learning_rate.decay_rate = 0.5f;
  const std::array<float, 5> rates = {8, 8, 4, 4, 2};
  for (std::size_t i = 0; i < rates.size(); ++i) {
    for (const Apply apply : {&apply_update, &apply_update_portable}) {
      for (const float factor : {1.0f, 0.25f}) {
        std::vector<float> p = {100}, gradient = {1};
        apply(spec, static_cast<std::int64_t>(i) + 1, {p, {}, gradient, p}, factor);
        CHECK(p[0] == 100 - factor * rates[i]);
      }
    }
  }
}

TEST_CASE("a factor for the rate scales the step of every rule") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    State whole = random_state(spec.kind, 20);
    // The step of rmsprop is stored in a slot, whose earlier content is not scaled.
    if (spec.kind == OptimizerKind::kRmsprop) whole.slots[1].assign(20, 0.0f);
    State half = whole, before = whole;
    const auto apply = [&](State& state, float factor) {
      const std::vector<std::span<float>> slots(state.slots.begin(), state.slots.end());
      apply_update(spec, 3, {state.parameters, slots, state.gradient, state.updated}, factor);
    };
    apply(whole, 1.0f);
    apply(half, 0.5f);
    for (std::size_t i = 0; i < 20; ++i) {
      INFO(name_of(spec) << ", number " << i);
      const float step = before.parameters[i] - whole.parameters[i];
      CHECK(before.parameters[i] - half.parameters[i] == Approx(step / 2).margin(1e-6));
    }
    // Gradients are accumulated without the factor.
    if (!whole.slots.empty()) CHECK(half.slots[0] == whole.slots[0]);
  }
}

TEST_CASE("optimizers are read by name") {
  for (const OptimizerKind kind : all_optimizers()) CHECK(parse_optimizer(to_string(kind)) == kind);
  CHECK(slot_names(OptimizerKind::kSgd).empty());
  CHECK(slot_names(OptimizerKind::kMomentum) == std::vector<std::string>{"momentum"});
  CHECK(slot_names(OptimizerKind::kAdam) == std::vector<std::string>{"m", "v"});
  CHECK(slot_names(OptimizerKind::kAdagrad) == std::vector<std::string>{"accumulator"});
  CHECK(slot_names(OptimizerKind::kRmsprop) == std::vector<std::string>{"rms", "momentum"});
}

TEST_CASE("every slot has a start value") {
  for (const OptimizerKind kind : all_optimizers()) CHECK(slot_start_values(kind).size() == slot_names(kind).size());
  CHECK(slot_start_values(OptimizerKind::kAdam) == std::vector<float>{0, 0});
  CHECK(slot_start_values(OptimizerKind::kRmsprop) == std::vector<float>{1, 0});
}

TEST_CASE("the choices are the names of all optimizers") {
  CHECK(optimizer_choices().starts_with("sgd, momentum, adam, adagrad"));
  for (const OptimizerKind kind : all_optimizers()) {
    CHECK(optimizer_choices().find(to_string(kind)) != std::string::npos);
  }
}

TEST_CASE("an unknown optimizer is refused with a list of the known ones") {
  try {
    parse_optimizer("adamw");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    CHECK(std::string(error.what()) == "unknown optimizer 'adamw': choose " + optimizer_choices());
  }
}

TEST_CASE("constants that no update can use are reported") {
  for (const OptimizerKind kind : all_optimizers()) CHECK_FALSE(fault_of(default_optimizer(kind)).has_value());
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK(fault_of(OptimizerSpec{.kind = static_cast<OptimizerKind>(all_optimizers().size())}) == "an unknown optimizer");
  const std::string no_number = "an optimizer constant that is not a number";
  CHECK(fault_of(OptimizerSpec{.momentum = nan}) == no_number);
  CHECK(fault_of(OptimizerSpec{.beta1 = infinity}) == no_number);
  CHECK(fault_of(OptimizerSpec{.beta2 = nan}) == no_number);
  CHECK(fault_of(OptimizerSpec{.decay = -infinity}) == no_number);
  CHECK(fault_of(OptimizerSpec{.epsilon = nan}) == no_number);
  CHECK(fault_of(OptimizerSpec{.learning_rate = nan}) == "a learning rate that is not a number");
}

}  // namespace distmnist
