// Compares the cpu backend on every instruction set of this processor, and on oneDNN alone, in every precision, with
// the reference backend.
#include <algorithm>

#include "lib/backend/cpu/cpu_backend.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"
#include "tests/support/cpu_tiers.h"
#include "tests/support/expect_error.h"
#include "tests/support/oracle.h"
#include "tests/support/tolerance.h"

using namespace distmnist;

namespace {

constexpr std::uint64_t kFirstSample = 77;

// Compares a layer's weights and biases together, because the gradients of a few biases, each a sum of numbers that
// almost cancel out, do not show how exact rounded numbers are.
void check_layer_gradients(const Graph& graph, std::span<const float> gradients, std::span<const float> expected,
                           double limit) {
  for (std::size_t i = 0; i + 1 < graph.variables.size(); i += 2) {
    const Range weights = graph.variables[i].range, biases = graph.variables[i + 1].range;
    const Range layer{weights.offset, weights.size + biases.size};
    INFO(graph.variables[i].name << " and biases");
    CHECK(relative_error(slice(gradients, layer), slice(expected, layer)) < limit);
  }
}

void check_gradients(const Graph& graph, std::span<const float> gradients, std::span<const float> expected,
                     double limit) {
  for (const Variable& variable : graph.variables) {
    INFO(variable.name);
    CHECK(relative_error(slice(gradients, variable.range), slice(expected, variable.range)) < limit);
  }
}

void check_case(const BackendCase& each, Precision precision) {
  const Samples samples = make_samples(each.graph, each.batch, 1);
  const std::vector<float> parameters = make_parameters(each.graph, 2);
  CompileOptions options{.max_batch_size = each.batch, .seed = 3, .stream = 4};
  Oracle oracle(each.graph, options, parameters, samples, kFirstSample);
  options.precision = precision;
  for (const CpuOptions& tier : cpu_tiers()) {
    for (const int threads : {1, 3}) {
      INFO(each.name << ", " << name_of(tier) << ", " << to_string(precision) << ", threads " << threads);
      const double limit = error_of_product(tier, precision) * products_of(each.graph);
      options.threads = threads;
      const auto executor = make_cpu_backend(tier)->compile(each.graph, options);
      executor->load({0, each.graph.num_parameters}, parameters);
      CHECK(relative_error(predict(*executor, each.graph, samples), oracle.logits()) < limit);
      const TrainOutcome outcome = train(*executor, samples.batch(kFirstSample));
      const TrainOutcome& expected = oracle.outcome(executor->probe()->choices());
      CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(limit));
      if (precision == Precision::kF32) {
        CHECK(outcome.result.correct == expected.result.correct);
        check_gradients(each.graph, outcome.gradients, expected.gradients, limit);
      } else {
        check_layer_gradients(each.graph, outcome.gradients, expected.gradients, limit);
      }
      const TrainOutcome again = train(*executor, samples.batch(kFirstSample));
      CHECK(again.result.loss == outcome.result.loss);
      CHECK(again.gradients == outcome.gradients);
    }
  }
}

}  // namespace

TEST_CASE("in float32 every case matches the reference and repeats the same bits") {
  for (const BackendCase& each : backend_cases()) check_case(each, Precision::kF32);
}

TEST_CASE("in bfloat16 every case matches the reference except for rounding and repeats the same bits") {
  for (const BackendCase& each : backend_cases()) check_case(each, Precision::kBf16);
}

TEST_CASE("a second executor with the same number of threads gives the same bits") {
  const std::vector<BackendCase> cases = backend_cases();
  const auto cnn = std::ranges::find(cases, "mnist_cnn", &BackendCase::name);
  REQUIRE(cnn != cases.end());
  const Samples samples = make_samples(cnn->graph, 5, 1);
  const std::vector<float> parameters = make_parameters(cnn->graph, 2);
  for (const CpuOptions& tier : cpu_tiers()) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      for (const int threads : {1, 3}) {
        INFO(name_of(tier) << ", " << to_string(precision) << ", threads " << threads);
        const auto gradients = [&] {
          const auto executor = make_cpu_backend(tier)->compile(
              cnn->graph, {.max_batch_size = 5, .precision = precision, .threads = threads});
          executor->load({0, cnn->graph.num_parameters}, parameters);
          return train(*executor, samples.batch()).gradients;
        };
        CHECK(gradients() == gradients());
      }
    }
  }
}

TEST_CASE("an instruction set that the processor does not support is refused by name") {
  for (const InstructionSet set : kInstructionSets) {
    INFO(to_string(set));
    const CpuOptions options{.instruction_set = set};
    if (is_supported(set)) {
      CHECK_NOTHROW(make_cpu_backend(options));
    } else {
      CHECK(fails_with(ExitCode::kUsage, std::string(to_string(set)), [&] { make_cpu_backend(options); }));
    }
  }
}
