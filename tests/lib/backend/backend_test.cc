// The behaviour that every backend must have, tested on each backend.
#include "lib/backend/backend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "lib/graph/slim.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/oracle.h"
#include "tests/support/tolerance.h"

using namespace distmnist;

namespace {

std::vector<LayerChoices> choices_of(Executor& executor) {
  return executor.probe() == nullptr ? std::vector<LayerChoices>() : executor.probe()->choices();
}

std::string any_backend() {
  return GENERATE(from_range(backends_under_test()));
}

// Convolution, pool, dropout and two matrices: all the state that an executor keeps up to date.
Graph small_graph() {
  auto net = slim::Net(2 * 8 * 6);
  net.reshape(8, 6, 2).conv2d(5, {3, 3}, "conv1").max_pool2d({2, 2}, "pool").conv2d(16, {3, 3}, "conv2");
  net.flatten("flatten")
      .fully_connected(11, "hidden")
      .dropout(0.5f, "dropout")
      .fully_connected(4, "pred", Activation::kNone);
  return net.build();
}

void load_in_pieces(Executor& executor, const std::vector<float>& block, std::int64_t piece) {
  const auto total = std::ssize(block);
  for (std::int64_t offset = 0; offset < total; offset += piece) {
    const Range range{offset, std::min<std::int64_t>(piece, total - offset)};
    executor.load(range, slice(std::span(block), range));
  }
}

}  // namespace

TEST_CASE("every case has the reference backend's logits, loss and gradients") {
  const int threads = GENERATE(1, 2);
  for (const BackendCase& each : backend_cases()) {
    const Samples samples = make_samples(each.graph, each.batch, 1);
    const std::vector<float> parameters = make_parameters(each.graph, 2);
    const CompileOptions options{.max_batch_size = each.batch, .threads = threads, .seed = 3, .stream = 4};
    Oracle oracle(each.graph, options, parameters, samples, 77);
    for (const std::string& backend : backends_under_test()) {
      INFO(each.name << ", backend " << backend << ", threads " << threads);
      const double bound = error_bound(backend, each.graph);
      const auto executor = make_executor(backend, each.graph, options, parameters);
      CHECK(relative_error(predict(*executor, each.graph, samples), oracle.logits()) < bound);
      const TrainOutcome outcome = train(*executor, samples.batch(77));
      const TrainOutcome& expected = oracle.outcome(choices_of(*executor));
      CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(bound));
      CHECK(outcome.result.correct == expected.result.correct);
      for (const Variable& variable : each.graph.variables) {
        INFO(variable.name);
        CHECK(relative_error(slice(std::span<const float>(outcome.gradients), variable.range),
                             slice(std::span<const float>(expected.gradients), variable.range)) < bound);
      }
    }
  }
}

TEST_CASE("parameters are read back as they were loaded, in any pieces") {
  const Graph graph = small_graph();
  const std::vector<float> block = make_parameters(graph, 5);
  const auto executor = make_named_backend(any_backend())->compile(graph, {.max_batch_size = 2});
  const std::int64_t piece = GENERATE(7, 100, 100000);
  load_in_pieces(*executor, block, piece);
  CHECK(read_all(*executor, graph) == block);
  std::vector<float> part(50);
  executor->read({33, 50}, part);
  CHECK(std::ranges::equal(part, std::span(block).subspan(33, 50)));
}

TEST_CASE("new parameters, or pieces of a variable, take effect in the next step") {
  const std::string backend = any_backend();
  const Graph graph = small_graph();
  const CompileOptions options{.max_batch_size = 3};
  const Samples samples = make_samples(graph, 3, 1);
  std::vector<float> block = make_parameters(graph, 5);
  const auto executor = make_executor(backend, graph, options, block);
  train(*executor, samples.batch());
  const std::int64_t offset = GENERATE(0, 1, 89, 100, 500);
  const Range piece{offset, 37};
  for (float& value : slice(std::span(block), piece)) value += 0.25f;
  executor->load(piece, slice(std::span<const float>(block), piece));
  const auto fresh = make_executor(backend, graph, options, block);
  CHECK(train(*executor, samples.batch()).gradients == train(*fresh, samples.batch()).gradients);
  CHECK(predict(*executor, graph, samples) == predict(*fresh, graph, samples));
}

TEST_CASE("every variable is reported once, later layers first, with its final gradient") {
  const Graph graph = small_graph();
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 3}, make_parameters(graph, 5));
  std::vector<Range> reported;
  std::vector<float> seen(static_cast<std::size_t>(graph.num_parameters), std::numeric_limits<float>::quiet_NaN());
  const Samples samples = make_samples(graph, 3, 1);
  executor->train_step(samples.batch(), [&](Range range) {
    reported.push_back(range);
    std::ranges::copy(slice(executor->gradients(), range), slice(std::span(seen), range).begin());
  });
  REQUIRE(reported.size() == graph.variables.size());
  for (std::size_t layer = 0; layer < 4; ++layer) {
    for (std::size_t i = 0; i < 2; ++i) {
      // Each layer has two variables, in either order.
      const Range& range = reported[(3 - layer) * 2 + i];
      CHECK((range == graph.variables[layer * 2].range || range == graph.variables[layer * 2 + 1].range));
    }
  }
  CHECK(std::ranges::equal(seen, executor->gradients()));
}

TEST_CASE("gradients stay at one address and are not accumulated") {
  const Graph graph = small_graph();
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 3}, make_parameters(graph, 5));
  const Samples samples = make_samples(graph, 3, 1);
  const float* address = executor->gradients().data();
  CHECK(std::ssize(executor->gradients()) == graph.num_parameters);
  const TrainOutcome first = train(*executor, samples.batch());
  train(*executor, make_samples(graph, 3, 9).batch());
  CHECK(train(*executor, samples.batch()).gradients == first.gradients);
  CHECK(executor->gradients().data() == address);
}

TEST_CASE("a training step does not change the parameters") {
  const Graph graph = small_graph();
  const std::vector<float> block = make_parameters(graph, 5);
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 3}, block);
  train(*executor, make_samples(graph, 3, 1).batch());
  CHECK(read_all(*executor, graph) == block);
}

TEST_CASE("repeating a step gives the same bits") {
  const std::string backend = any_backend();
  const int threads = GENERATE(1, 2);
  const Graph graph = small_graph();
  const Samples samples = make_samples(graph, 50, 1);
  const CompileOptions options{.max_batch_size = 50, .threads = threads};
  const auto executor = make_executor(backend, graph, options, make_parameters(graph, 5));
  const TrainOutcome first = train(*executor, samples.batch());
  for (int i = 0; i < 5; ++i) {
    const auto again = make_executor(backend, graph, options, make_parameters(graph, 5));
    const TrainOutcome outcome = train(*again, samples.batch());
    CHECK(outcome.result.loss == first.result.loss);
    CHECK(outcome.gradients == first.gradients);
  }
}

TEST_CASE("batches below the largest size give the same results in any order") {
  const std::string backend = any_backend();
  const Graph graph = small_graph();
  const std::vector<float> block = make_parameters(graph, 5);
  const double both_off = 2 * error_bound(backend, graph);
  const auto executor = make_executor(backend, graph, {.max_batch_size = 7}, block);
  for (const std::int64_t size : {7, 3, 1, 3, 7, 6}) {
    INFO("batch of " << size);
    const Samples samples = make_samples(graph, size, static_cast<std::uint64_t>(size));
    const auto alone = make_executor(backend, graph, {.max_batch_size = size}, block);
    CHECK(relative_error(predict(*executor, graph, samples), predict(*alone, graph, samples)) < both_off);
    const TrainOutcome outcome = train(*executor, samples.batch(11));
    const TrainOutcome expected = train(*alone, samples.batch(11));
    CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(both_off));
    CHECK(relative_error(outcome.gradients, expected.gradients) < both_off);
  }
}

TEST_CASE("parameters loaded between batches of two sizes take effect in both") {
  const std::string backend = any_backend();
  const Graph graph = small_graph();
  const auto executor = make_executor(backend, graph, {.max_batch_size = 4}, make_parameters(graph, 5));
  const Samples full = make_samples(graph, 4, 1), partial = make_samples(graph, 2, 1);
  predict(*executor, graph, full);
  predict(*executor, graph, partial);
  const std::vector<float> block = make_parameters(graph, 6);
  executor->load({0, graph.num_parameters}, block);
  const auto fresh = make_executor(backend, graph, {.max_batch_size = 4}, block);
  CHECK(predict(*executor, graph, partial) == predict(*fresh, graph, partial));
  CHECK(predict(*executor, graph, full) == predict(*fresh, graph, full));
}

TEST_CASE("a prediction uses no dropout") {
  const std::string backend = any_backend();
  auto net = slim::Net(6);
  const Graph with = net.dropout(0.5f, "dropout").fully_connected(3, "pred", Activation::kNone).build();
  const Graph without = slim::Net(6).fully_connected(3, "pred", Activation::kNone).build();
  const std::vector<float> block = make_parameters(without, 5);
  const Samples samples = make_samples(without, 3, 1);
  const auto executor = make_executor(backend, with, {.max_batch_size = 3}, block);
  const auto plain = make_executor(backend, without, {.max_batch_size = 3}, block);
  const std::vector<float> expected = predict(*plain, without, samples);
  CHECK(predict(*executor, with, samples) == expected);
  CHECK(train(*executor, samples.batch()).result.loss != train(*plain, samples.batch()).result.loss);
  // The training step before must not leave a mask behind.
  CHECK(predict(*executor, with, samples) == expected);
}

TEST_CASE("dropout masks depend on the sample, the seed and the worker") {
  const std::string backend = any_backend();
  const Graph graph = small_graph();
  const Samples samples = make_samples(graph, 3, 1);
  const auto loss = [&](const CompileOptions& options, std::uint64_t first_sample) {
    const auto executor = make_executor(backend, graph, options, make_parameters(graph, 5));
    return train(*executor, samples.batch(first_sample)).result.loss;
  };
  const double base = loss({}, 0);
  CHECK(loss({}, 0) == base);
  CHECK(loss({}, 3) != base);
  CHECK(loss({.seed = 1}, 0) != base);
  CHECK(loss({.stream = 1}, 0) != base);
}

TEST_CASE("for equal logits the first class is the prediction") {
  const Graph graph = slim::Net(4).fully_connected(3, "pred", Activation::kNone).build();
  const std::vector<float> zeros(static_cast<std::size_t>(graph.num_parameters), 0.0f);
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 4}, zeros);
  Samples samples = make_samples(graph, 4, 1);
  samples.labels = {0, 1, 2, 0};
  const StepResult result = executor->train_step(samples.batch(), {});
  CHECK(result.correct == 2);
  CHECK(result.loss == Approx(std::log(3.0)));
}

TEST_CASE("an invalid label is refused, and the executor remains usable") {
  const Graph graph = small_graph();
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 3}, make_parameters(graph, 5));
  const Samples good = make_samples(graph, 3, 1);
  Samples bad = good;
  bad.labels[2] = 4;
  const TrainOutcome expected = train(*executor, good.batch());
  CHECK(
      fails_with(ExitCode::kData, "sample 2 of the batch has label 4", [&] { executor->train_step(bad.batch(), {}); }));
  CHECK(train(*executor, good.batch()).gradients == expected.gradients);
}

TEST_CASE("an exception from a gradient callback is passed on, and the executor remains usable") {
  const Graph graph = small_graph();
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 3}, make_parameters(graph, 5));
  const Samples samples = make_samples(graph, 3, 1);
  const TrainOutcome expected = train(*executor, samples.batch());
  CHECK_THROWS_AS(executor->train_step(samples.batch(), [](Range) { throw std::runtime_error("push failed"); }),
                  std::runtime_error);
  CHECK(train(*executor, samples.batch()).gradients == expected.gradients);
}

TEST_CASE("a parameter that is not finite makes the loss NaN") {
  const Graph graph = small_graph();
  std::vector<float> block = make_parameters(graph, 5);
  block.back() = std::numeric_limits<float>::quiet_NaN();
  const auto executor = make_executor(any_backend(), graph, {.max_batch_size = 3}, block);
  CHECK(std::isnan(executor->train_step(make_samples(graph, 3, 1).batch(), {}).loss));
}

TEST_CASE("options out of range are refused with their value") {
  const auto backend = make_named_backend(any_backend());
  const Graph graph = small_graph();
  CHECK(fails_with(ExitCode::kUsage, "batch size of 0", [&] { backend->compile(graph, {.max_batch_size = 0}); }));
  CHECK(fails_with(ExitCode::kUsage, "batch size of 1000001",
                   [&] { backend->compile(graph, {.max_batch_size = 1000001}); }));
  CHECK(fails_with(ExitCode::kUsage, "0 threads", [&] { backend->compile(graph, {.threads = 0}); }));
  CHECK(fails_with(ExitCode::kUsage, "no layer with variables", [&] { backend->compile(Graph{}, {}); }));
}

TEST_CASE("an unknown device type is refused with a list of the known ones") {
  CHECK(fails_with(ExitCode::kUsage, "unknown device type \"tpu\"; use cpu, gpu or reference",
                   [] { make_backend("tpu"); }));
}
