// Compares the reference backend's gradients with central differences of its loss. Everything between the float
// parameters and the loss is double, so that a small step gives the slope to many digits.
#include <algorithm>
#include <cmath>

#include "lib/base/random.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

constexpr std::int64_t kMostParameters = 10'000;  // larger graphs take too long for the plain loops
constexpr int kProbesPerVariable = 12;

// Small, so that a probe rarely crosses the kink of a relu or a maximum.
constexpr float kStep = 1e-6f;

// The slope of the loss along one parameter. The actual step is kStep after rounding to float.
double slope(Executor& executor, const Batch& batch, std::int64_t parameter, float value) {
  const float above = value + kStep, below = value - kStep;
  executor.load({parameter, 1}, std::span(&above, 1));
  const double upper = executor.train_step(batch, {}).loss;
  executor.load({parameter, 1}, std::span(&below, 1));
  const double lower = executor.train_step(batch, {}).loss;
  executor.load({parameter, 1}, std::span(&value, 1));
  return (upper - lower) / (static_cast<double>(above) - below);
}

}  // namespace

TEST_CASE("the reference backend's gradients are the slopes of its loss") {
  Random random(4, 0);
  for (const BackendCase& each : backend_cases()) {
    if (each.graph.num_parameters > kMostParameters) continue;
    const std::int64_t count = std::min<std::int64_t>(each.batch, 3);
    const Samples samples = make_samples(each.graph, count, 1);
    const std::vector<float> block = make_parameters(each.graph, 2);
    const auto executor = make_executor("reference", each.graph, {.max_batch_size = count}, block);
    const std::vector<float> gradients = train(*executor, samples.batch(5)).gradients;
    for (const Variable& variable : each.graph.variables) {
      for (int probe = 0; probe < kProbesPerVariable; ++probe) {
        const auto place = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(variable.range.size)));
        const std::int64_t parameter = variable.range.offset + place;
        INFO(each.name << ", " << variable.name << " at " << place);
        // The gradient is rounded to float; the error of the slope is about 1e-9.
        const double expected = slope(*executor, samples.batch(5), parameter, block[parameter]);
        CHECK(gradients[parameter] == Approx(expected).epsilon(1e-5).margin(1e-8));
      }
    }
  }
}
