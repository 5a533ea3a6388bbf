#include "lib/backend/cuda/kernels/update.h"

#include <algorithm>
#include <vector>

#include "lib/optim/update_rules.h"
#include "tests/support/catch.h"
#include "tests/support/comparable_specs.h"
#include "tests/support/cuda_on_host/device_tensor.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

constexpr int kSteps = 3;

// The state of an optimizer on the host. Slots that the spec does not have stay unchanged.
struct State {
  std::vector<float> parameters, first_slot, second_slot;
};

std::vector<float> gradient_of(int step, std::int64_t size) {
  const std::vector<double> numbers = random_numbers(size, static_cast<std::uint64_t>(10 + step));
  return {numbers.begin(), numbers.end()};
}

float rate_of(int step) {
  return 0.01f / static_cast<float>(1 + step);
}

State start(const OptimizerSpec& spec, std::int64_t size) {
  const std::vector<double> numbers = random_numbers(size, 5);
  const std::vector<float> slots = slot_start_values(spec.kind);
  const auto filled = [&](std::size_t slot) {
    return std::vector<float>(static_cast<std::size_t>(size), slot < slots.size() ? slots[slot] : -7.0f);
  };
  return {{numbers.begin(), numbers.end()}, filled(0), filled(1)};
}

State updated_on_host(const OptimizerSpec& spec, std::int64_t size) {
  State state = start(spec, size);
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<float> gradient = gradient_of(step, size);
    update_rule(spec)({.parameters = state.parameters.data(),
                       .first_slot = state.first_slot.data(),
                       .second_slot = state.second_slot.data(),
                       .gradient = gradient.data(),
                       .updated = state.parameters.data(),
                       .size = state.parameters.size()},
                      spec, rate_of(step));
  }
  return state;
}

// The first `shift` floats of each array are before the block.
std::vector<float> shifted(const std::vector<float>& values, std::size_t shift) {
  std::vector<float> result(shift, 99.0f);
  result.insert(result.end(), values.begin(), values.end());
  return result;
}
std::vector<double> unshifted(const std::vector<float>& values, std::size_t shift) {
  CHECK(std::count(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(shift), 99.0f) ==
        static_cast<std::ptrdiff_t>(shift));
  return {values.begin() + static_cast<std::ptrdiff_t>(shift), values.end()};
}

struct Updated {
  std::vector<double> parameters, first_slot, second_slot;
  std::vector<__nv_bfloat16> copy;
};

Updated updated_on_device(const OptimizerSpec& spec, std::int64_t size, std::size_t shift, bool with_copy) {
  const State state = start(spec, size);
  const MarkedArray<float> parameters(shifted(state.parameters, shift));
  const MarkedArray<float> first_slot(shifted(state.first_slot, shift)), second_slot(shifted(state.second_slot, shift));
  const MarkedArray<__nv_bfloat16> copy(static_cast<std::size_t>(size));
  const std::size_t slots = slot_names(spec.kind).size();
  for (int step = 0; step < kSteps; ++step) {
    const MarkedArray<float> gradient(gradient_of(step, size));
    const MarkedArray<StepScalars> current(std::vector<StepScalars>{{.rate = rate_of(step)}});
    update(nullptr, spec, current.data(),
           {.parameters = parameters.data() + shift,
            .first_slot = slots > 0 ? first_slot.data() + shift : nullptr,
            .second_slot = slots > 1 ? second_slot.data() + shift : nullptr,
            .gradient = gradient.data(),
            .bf16_copy = with_copy ? copy.data() : nullptr,
            .size = size});
    check(cudaDeviceSynchronize(), "wait for the device");
  }
  return {unshifted(parameters.fetch(), shift), unshifted(first_slot.fetch(), shift),
          unshifted(second_slot.fetch(), shift), copy.fetch()};
}

}  // namespace

TEST_CASE("every optimizer updates parameters and slots as on the host") {
  const std::int64_t size = GENERATE(1, 3, 4, 1027, 5000);
  const std::size_t shift = GENERATE(0, 1);
  for (const OptimizerSpec& spec : comparable_specs()) {
    INFO(to_string(spec.kind) << ", nesterov " << spec.nesterov);
    const State expected = updated_on_host(spec, size);
    const Updated updated = updated_on_device(spec, size, shift, true);
    CHECK(worst_error(updated.parameters, to_doubles(expected.parameters)) < 1e-6);
    CHECK(worst_error(updated.first_slot, to_doubles(expected.first_slot)) < 1e-6);
    CHECK(worst_error(updated.second_slot, to_doubles(expected.second_slot)) < 1e-6);
    // The copy for bfloat16 products is the new parameter, rounded.
    for (std::size_t i = 0; i < updated.copy.size(); ++i) {
      const auto parameter = static_cast<float>(updated.parameters[i]);
      REQUIRE(__bfloat162float(updated.copy[i]) == __bfloat162float(__float2bfloat16_rn(parameter)));
    }
  }
}

TEST_CASE("a step changes parameters by more than the tests' tolerance") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    const State before = start(spec, 1000), after = updated_on_host(spec, 1000);
    CHECK(worst_error(to_doubles(after.parameters), to_doubles(before.parameters)) > 1e-3);
  }
}

TEST_CASE("without a copy the update is the same") {
  const OptimizerSpec spec = default_optimizer(OptimizerKind::kAdam);
  const Updated with = updated_on_device(spec, 1027, 0, true), without = updated_on_device(spec, 1027, 0, false);
  CHECK(with.parameters == without.parameters);
}
