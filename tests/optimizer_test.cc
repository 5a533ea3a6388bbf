#include "lib/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "tests/golden/optimizer_golden.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

const OptimizerKind kKinds[] = {OptimizerKind::kSgd, OptimizerKind::kMomentum, OptimizerKind::kAdam};

// A block with its slots, and everything an update needs.
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
  for (const std::string& name : slot_names(kind)) state.slots.push_back(name == "v" ? fill(0, 0.01f) : fill(-1, 1));
  return state;
}

using Apply = decltype(&apply_update);

// Applies update `t` to the floats [begin, begin + size) of the state.
void apply_range(Apply apply, const OptimizerSpec& spec, std::int64_t t, State& state, std::size_t begin,
                 std::size_t size) {
  std::vector<std::span<float>> slots;
  for (auto& slot : state.slots) slots.push_back(std::span(slot).subspan(begin, size));
  apply(spec, t, std::span(state.parameters).subspan(begin, size), slots,
        std::span(state.gradient).subspan(begin, size), std::span(state.updated).subspan(begin, size));
}

void apply_all(Apply apply, const OptimizerSpec& spec, std::int64_t t, State& state) {
  apply_range(apply, spec, t, state, 0, state.parameters.size());
}

OptimizerSpec spec_of(OptimizerKind kind) {
  return {.kind = kind, .learning_rate = 0.01f};
}

}  // namespace

TEST_CASE("updates follow TensorFlow's numbers") {
  for (const golden::OptimizerCase& expected : golden::kOptimizerCases) {
    const OptimizerSpec spec{parse_optimizer(expected.optimizer),   static_cast<float>(expected.learning_rate),
                             static_cast<float>(expected.momentum), static_cast<float>(expected.beta1),
                             static_cast<float>(expected.beta2),    static_cast<float>(expected.epsilon)};
    for (const Apply apply : {&apply_update, &apply_update_portable}) {
      const std::size_t size = golden::kStart.size();
      State state{std::vector<float>(golden::kStart.begin(), golden::kStart.end()),
                  std::vector<std::vector<float>>(slot_names(spec.kind).size(), std::vector<float>(size)),
                  std::vector<float>(size), std::vector<float>(size)};
      for (std::size_t step = 0; step < expected.parameters.size(); ++step) {
        state.gradient.assign(golden::kGradients[step].begin(), golden::kGradients[step].end());
        apply_all(apply, spec, static_cast<std::int64_t>(step) + 1, state);
        for (std::size_t i = 0; i < size; ++i) {
          INFO(expected.optimizer << ", learning rate " << expected.learning_rate << ", step " << step + 1
                                  << ", number " << i);
          const double want = expected.parameters[step][i];
          // A few roundings of the parameter and of the distance it has moved.
          const double moved = std::abs(want - golden::kStart[i]);
          CHECK(std::abs(state.parameters[i] - want) <= 5e-7 * (std::abs(want) + std::abs(golden::kStart[i]) + moved));
        }
      }
    }
  }
}

TEST_CASE("the version for this processor equals the portable one bit for bit") {
  for (const OptimizerKind kind : kKinds) {
    for (const std::size_t size : {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000, 4099}) {
      State fast = random_state(kind, size);
      State portable = fast;
      for (std::int64_t t = 1; t <= 3; ++t) {
        apply_all(&apply_update, spec_of(kind), t, fast);
        apply_all(&apply_update_portable, spec_of(kind), t, portable);
      }
      INFO(to_string(kind) << " over " << size << " floats");
      CHECK(fast == portable);
      CHECK(fast.updated == fast.parameters);
    }
  }
}

TEST_CASE("shards of any size and alignment equal the whole block bit for bit") {
  constexpr std::size_t kSize = 1003;
  for (const OptimizerKind kind : kKinds) {
    State whole = random_state(kind, kSize);
    const State start = whole;
    apply_all(&apply_update, spec_of(kind), 4, whole);
    for (const std::size_t step : {1, 3, 16, 17, 100, 501}) {
      State shards = start;
      for (std::size_t begin = 0; begin < kSize; begin += step) {
        apply_range(&apply_update, spec_of(kind), 4, shards, begin, std::min(step, kSize - begin));
      }
      INFO(to_string(kind) << " in shards of " << step);
      CHECK(shards == whole);
    }
  }
}

TEST_CASE("an update leaves the floats beside its range alone") {
  for (const OptimizerKind kind : kKinds) {
    const State before = random_state(kind, 100);
    State after = before;
    apply_range(&apply_update, spec_of(kind), 1, after, 33, 29);
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

TEST_CASE("the new parameters may be written over the gradient or over the parameters") {
  for (const OptimizerKind kind : kKinds) {
    for (const std::size_t size : {1, 5, 16, 67, 1003}) {
      State apart = random_state(kind, size);
      State over_gradient = apart;
      State over_parameters = apart;
      const auto spans = [](State& state) {
        return std::vector<std::span<float>>(state.slots.begin(), state.slots.end());
      };
      apply_all(&apply_update, spec_of(kind), 2, apart);
      apply_update(spec_of(kind), 2, over_gradient.parameters, spans(over_gradient), over_gradient.gradient,
                   over_gradient.gradient);
      apply_update(spec_of(kind), 2, over_parameters.parameters, spans(over_parameters), over_parameters.gradient,
                   over_parameters.parameters);
      INFO(to_string(kind) << " over " << size << " floats");
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

TEST_CASE("Adam's correction fades out at large step numbers") {
  State late = random_state(OptimizerKind::kAdam, 50);
  State later = late;
  apply_all(&apply_update, spec_of(OptimizerKind::kAdam), 1'000'000, late);
  apply_all(&apply_update, spec_of(OptimizerKind::kAdam), 1'000'000'000'000, later);
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
TEST_CASE("moments without a gradient decay, but never to denormals") {
  State state{{1}, {{1}, {1}}, {0}, {0}};
  for (std::int64_t t = 1; t <= 2000; ++t) apply_all(&apply_update, spec_of(OptimizerKind::kAdam), t, state);
  CHECK(state.slots[0][0] < 1e-36f);
  CHECK(std::fpclassify(state.slots[0][0]) != FP_SUBNORMAL);
  // The caller's arithmetic is as it was.
  volatile float tiny = std::numeric_limits<float>::min();
  CHECK(tiny / 4 > 0);
}
#endif

TEST_CASE("a gradient that is not a number is not hidden") {
  for (const OptimizerKind kind : kKinds) {
    State state = random_state(kind, 40);
    state.gradient[17] = std::numeric_limits<float>::quiet_NaN();
    apply_all(&apply_update, spec_of(kind), 1, state);
    for (std::size_t i = 0; i < 40; ++i) CHECK(std::isnan(state.updated[i]) == (i == 17));
  }
}

TEST_CASE("optimizers are known by name") {
  for (const OptimizerKind kind : kKinds) CHECK(parse_optimizer(to_string(kind)) == kind);
  CHECK(slot_names(OptimizerKind::kSgd).empty());
  CHECK(slot_names(OptimizerKind::kMomentum) == std::vector<std::string>{"momentum"});
  CHECK(slot_names(OptimizerKind::kAdam) == std::vector<std::string>{"m", "v"});
}

TEST_CASE("an unknown optimizer is refused with the known ones") {
  try {
    parse_optimizer("adamw");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    CHECK(std::string(error.what()) == "unknown optimizer 'adamw': choose sgd, momentum or adam");
  }
}

}  // namespace distmnist
