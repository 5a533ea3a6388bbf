#include "tests/lib/backend/cuda/cuda_cases.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lib/backend/reference/reference_backend.h"
#include "lib/graph/slim.h"
#include "models/models.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"
#include "tests/support/comparable_specs.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

// Largest relative error of logits and gradients in the L2 norm, compared with plain loops in double precision.
double tolerance(Precision precision) {
  switch (precision) {
    case Precision::kTf32:
      return 2e-3;
    case Precision::kBf16:
      return 2e-2;
    default:
      return 1e-4;
  }
}

std::unique_ptr<Executor> compile(const Backend& backend, const Graph& graph, const CompileOptions& options,
                                  const std::vector<float>& parameters) {
  auto executor = backend.compile(graph, options);
  executor->load({0, graph.num_parameters}, parameters);
  return executor;
}

void check_gradients(const Graph& graph, std::span<const float> gradients, std::span<const float> expected,
                     double limit) {
  for (const Variable& variable : graph.variables) {
    INFO(variable.name);
    CHECK(relative_error(slice(gradients, variable.range), slice(expected, variable.range)) < limit);
  }
}

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

Graph small_graph() {
  auto net = slim::Net(8 * 6);
  net.reshape(8, 6, 1).conv2d(5, {3, 3}, "conv1").max_pool2d({2, 2}, "pool1").conv2d(16, {3, 3}, "conv2");
  net.max_pool2d({2, 2}, "pool2").flatten("flatten").fully_connected(12, "hidden").dropout(0.5f, "dropout");
  return net.fully_connected(4, "pred", Activation::kNone).build();
}

// Samples as bytes, and the same samples as floats in the order of a step.
struct KeptSamples {
  std::vector<std::uint8_t> pixels, labels;
  SampleBytes bytes(std::int64_t count) const { return {count, pixels, labels}; }
};

KeptSamples make_kept_samples(const Graph& graph, std::int64_t count) {
  const Samples samples = make_samples(graph, count, 11);
  KeptSamples kept{.pixels = {}, .labels = samples.labels};
  for (const float value : samples.images) kept.pixels.push_back(static_cast<std::uint8_t>(std::abs(value) * 255.0f));
  return kept;
}

std::vector<std::int32_t> some_samples(std::int64_t count, std::int64_t kept) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<std::int32_t>((7 * i + 3) % kept));
  return out;
}

// The slots of an optimizer with their start values.
std::vector<std::vector<float>> start_slots(const OptimizerSpec& optimizer, const Graph& graph) {
  std::vector<std::vector<float>> slots;
  for (const float value : slot_start_values(optimizer.kind)) {
    slots.emplace_back(static_cast<std::size_t>(graph.num_parameters), value);
  }
  return slots;
}

std::vector<std::span<const float>> spans_of(const std::vector<std::vector<float>>& slots) {
  return {slots.begin(), slots.end()};
}

struct Trained {
  StepResult last;
  std::vector<float> parameters;
  std::vector<std::vector<float>> slots;
};

// Runs `steps` resident steps in calls of `per_call` steps.
Trained train_resident(Executor& executor, const Graph& graph, const OptimizerSpec& optimizer, const KeptSamples& kept,
                       std::int64_t batch, std::int64_t steps, std::int64_t per_call) {
  ResidentTraining* training = executor.resident_training();
  REQUIRE(training != nullptr);
  const auto count = std::ssize(kept.labels);
  REQUIRE(training->keep_samples(kept.bytes(count)));
  const auto slots = start_slots(optimizer, graph);
  training->start(optimizer, 0, spans_of(slots));
  const std::vector<std::int32_t> samples = some_samples(batch * steps, count);
  for (std::int64_t done = 0; done < steps; done += per_call) {
    const std::int64_t now = std::min(per_call, steps - done);
    training->run(
        {batch,
         std::span(samples).subspan(static_cast<std::size_t>(done * batch), static_cast<std::size_t>(now * batch)),
         static_cast<std::uint64_t>(done * batch)});
  }
  Trained trained{.last = training->last_step(), .parameters = read_all(executor, graph), .slots = slots};
  for (std::size_t i = 0; i < slots.size(); ++i) training->read_slot(i, trained.slots[i]);
  return trained;
}

}  // namespace

TEST_CASE("every case gives the reference backend's logits, loss and gradients in every precision") {
  const auto backend = make_backend_under_test();
  const auto oracle_backend = make_reference_backend();
  const Precision precision = GENERATE(Precision::kF32, Precision::kTf32, Precision::kBf16);
  const double limit = tolerance(precision);
  for (const BackendCase& each : backend_cases()) {
    INFO(each.name << ", --precision=" << to_string(precision));
    const Samples samples = make_samples(each.graph, each.batch, 1);
    const std::vector<float> parameters = make_parameters(each.graph, 2);
    CompileOptions options{.max_batch_size = each.batch, .seed = 3, .stream = 4};
    const auto oracle = compile(*oracle_backend, each.graph, options, parameters);
    const std::vector<float> logits = predict(*oracle, each.graph, samples);

    options.precision = precision;
    const auto executor = compile(*backend, each.graph, options, parameters);
    CHECK(relative_error(predict(*executor, each.graph, samples), logits) < limit);
    const TrainOutcome outcome = train(*executor, samples.batch(77));
    force_choices(*oracle, executor->probe()->choices());
    const TrainOutcome expected = train(*oracle, samples.batch(77));
    CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(limit));
    if (precision == Precision::kF32) {
      CHECK(outcome.result.correct == expected.result.correct);
      check_gradients(each.graph, outcome.gradients, expected.gradients, limit);
    } else {
      check_layer_gradients(each.graph, outcome.gradients, expected.gradients, limit);
    }
  }
}

TEST_CASE("without rounding the pooling choices equal the reference backend's") {
  const auto backend = make_backend_under_test();
  const Graph graph = small_graph();
  const Samples samples = make_samples(graph, 5, 1);
  const std::vector<float> parameters = make_parameters(graph, 2);
  const CompileOptions options{.max_batch_size = 5, .seed = 3};
  const auto executor = compile(*backend, graph, options, parameters);
  const auto oracle = compile(*make_reference_backend(), graph, options, parameters);
  check_gradients(graph, train(*executor, samples.batch()).gradients, train(*oracle, samples.batch()).gradients, 1e-4);
}

TEST_CASE("each variable is announced once, later layers first, when its gradient is final") {
  const auto backend = make_backend_under_test();
  const Graph graph = mnist_cnn();
  const Samples samples = make_samples(graph, 4, 1);
  const auto executor = compile(*backend, graph, {.max_batch_size = 4}, make_parameters(graph, 2));
  const std::vector<float> expected = train(*executor, samples.batch()).gradients;
  std::ranges::fill(executor->gradients(), -1.0f);
  std::vector<Range> announced;
  executor->train_step(samples.batch(), [&](Range range) {
    announced.push_back(range);
    CHECK(std::ranges::equal(slice(executor->gradients(), range), slice(std::span(expected), range)));
  });
  REQUIRE(announced.size() == graph.variables.size());
  std::map<std::int64_t, int> seen;
  for (const Range range : announced) ++seen[range.offset];
  for (const Variable& variable : graph.variables) CHECK(seen[variable.range.offset] == 1);
  // pred before the convolutions.
  CHECK(announced.front().offset >= graph.variables[graph.variables.size() - 2].range.offset);
  CHECK(announced.back().offset <= graph.variables[1].range.offset);
}

TEST_CASE("parameters that are loaded in pieces take effect in the next step") {
  const auto backend = make_backend_under_test();
  const Precision precision = GENERATE(Precision::kF32, Precision::kBf16);
  const Graph graph = small_graph();
  const CompileOptions options{.max_batch_size = 3, .precision = precision};
  const Samples samples = make_samples(graph, 3, 1);
  std::vector<float> block = make_parameters(graph, 5);
  const auto executor = compile(*backend, graph, options, block);
  train(*executor, samples.batch());
  for (const std::int64_t offset : {0, 1, 60, 300}) {
    const Range piece{offset, 37};
    for (float& value : slice(std::span(block), piece)) value += 0.25f;
    executor->load(piece, slice(std::span<const float>(block), piece));
  }
  CHECK(read_all(*executor, graph) == block);
  const auto fresh = compile(*backend, graph, options, block);
  CHECK(train(*executor, samples.batch()).gradients == train(*fresh, samples.batch()).gradients);
  CHECK(predict(*executor, graph, samples) == predict(*fresh, graph, samples));
}

TEST_CASE("smaller batches and changing batch sizes give the same results as alone") {
  const auto backend = make_backend_under_test();
  const Graph graph = small_graph();
  const std::vector<float> block = make_parameters(graph, 5);
  const auto executor = compile(*backend, graph, {.max_batch_size = 9, .seed = 1}, block);
  for (const std::int64_t size : {9, 4, 9, 1, 4}) {
    INFO("batch of " << size);
    const Samples samples = make_samples(graph, size, static_cast<std::uint64_t>(size));
    const auto alone = compile(*make_reference_backend(), graph, {.max_batch_size = size, .seed = 1}, block);
    const TrainOutcome expected = train(*alone, samples.batch(40));
    const TrainOutcome outcome = train(*executor, samples.batch(40));
    CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(1e-5));
    check_gradients(graph, outcome.gradients, expected.gradients, 1e-4);
    CHECK(relative_error(predict(*executor, graph, samples), predict(*alone, graph, samples)) < 1e-4);
  }
}

TEST_CASE("an invalid label is refused, and the executor keeps its state") {
  const auto backend = make_backend_under_test();
  const Graph graph = small_graph();
  Samples samples = make_samples(graph, 3, 1);
  const auto executor = compile(*backend, graph, {.max_batch_size = 3}, make_parameters(graph, 5));
  const TrainOutcome before = train(*executor, samples.batch());
  const std::uint8_t label = samples.labels[2];
  samples.labels[2] = 4;
  CHECK(fails_with(ExitCode::kData, "label 4", [&] { executor->train_step(samples.batch(), {}); }));
  const KeptSamples kept{.pixels = std::vector<std::uint8_t>(2 * 48), .labels = {3, 4}};
  CHECK(fails_with(ExitCode::kData, "label 4", [&] { executor->resident_training()->keep_samples(kept.bytes(2)); }));
  samples.labels[2] = label;
  CHECK(train(*executor, samples.batch()).gradients == before.gradients);
}

TEST_CASE("resident steps equal train_step plus the optimizer's update") {
  const auto backend = make_backend_under_test();
  const OptimizerSpec optimizer = GENERATE(from_range(comparable_specs()));
  INFO(to_string(optimizer.kind) << ", nesterov " << optimizer.nesterov);
  const Graph graph = small_graph();
  const KeptSamples kept = make_kept_samples(graph, 40);
  const CompileOptions options{.max_batch_size = 6, .seed = 9};
  const std::vector<float> block = make_parameters(graph, 5);
  const auto executor = compile(*backend, graph, options, block);
  const auto oracle = compile(*make_reference_backend(), graph, options, block);
  const Trained trained = train_resident(*executor, graph, optimizer, kept, 6, 7, 3);
  const Trained expected = train_resident(*oracle, graph, optimizer, kept, 6, 7, 7);
  CHECK(trained.last.loss == Approx(expected.last.loss).epsilon(1e-4));
  CHECK(trained.last.correct == expected.last.correct);
  CHECK(relative_error(trained.parameters, expected.parameters) < 1e-5);
  for (std::size_t i = 0; i < expected.slots.size(); ++i) {
    CHECK(relative_error(trained.slots[i], expected.slots[i]) < 1e-3);
  }
}

TEST_CASE("resident training continues from stored slots with a different batch size and repeats the same bits") {
  const auto backend = make_backend_under_test();
  const Precision precision = GENERATE(Precision::kF32, Precision::kBf16);
  const Graph graph = small_graph();
  const KeptSamples kept = make_kept_samples(graph, 40);
  const CompileOptions options{.max_batch_size = 6, .precision = precision};
  const std::vector<float> block = make_parameters(graph, 5);
  const OptimizerSpec optimizer;
  const std::vector<std::int32_t> samples = some_samples(6 * 4 + 3 * 4, 40);
  const auto whole = [&](std::int64_t stop_after) {
    auto executor = compile(*backend, graph, options, block);
    auto slots = start_slots(optimizer, graph);
    std::int64_t done = 0;
    const auto start = [&] {
      REQUIRE(executor->resident_training()->keep_samples(kept.bytes(40)));
      executor->resident_training()->start(optimizer, done, spans_of(slots));
    };
    start();
    for (; done < 8; ++done) {
      if (done == stop_after) {
        // Copies everything to the host and then to a second executor.
        for (std::size_t i = 0; i < slots.size(); ++i) executor->resident_training()->read_slot(i, slots[i]);
        executor = compile(*backend, graph, options, read_all(*executor, graph));
        start();
      }
      const std::int64_t size = done < 4 ? 6 : 3;
      const std::int64_t first = done < 4 ? 6 * done : 24 + 3 * (done - 4);
      executor->resident_training()->run(
          {size, std::span(samples).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size)),
           static_cast<std::uint64_t>(first)});
    }
    executor->resident_training()->last_step();
    return read_all(*executor, graph);
  };
  const std::vector<float> at_once = whole(-1);
  CHECK(at_once != block);
  CHECK(whole(-1) == at_once);
  CHECK(whole(3) == at_once);
  CHECK(whole(4) == at_once);
}

TEST_CASE("evaluating between resident steps changes nothing") {
  const auto backend = make_backend_under_test();
  const Graph graph = small_graph();
  const KeptSamples kept = make_kept_samples(graph, 20);
  const Samples some = make_samples(graph, 4, 8);
  const auto trained = [&](bool evaluate) {
    const auto executor = compile(*backend, graph, {.max_batch_size = 5}, make_parameters(graph, 5));
    ResidentTraining& training = *executor->resident_training();
    REQUIRE(training.keep_samples(kept.bytes(20)));
    const auto slots = start_slots({}, graph);
    training.start({}, 0, spans_of(slots));
    for (int step = 0; step < 4; ++step) {
      training.run({3, some_samples(3, 20), static_cast<std::uint64_t>(3 * step)});
      if (evaluate) predict(*executor, graph, some);  // a different batch size than the steps
    }
    return read_all(*executor, graph);
  };
  CHECK(trained(true) == trained(false));
}

TEST_CASE("an evaluation after resident steps uses the last update") {
  const auto backend = make_backend_under_test();
  const Graph graph = small_graph();
  const Precision precision = GENERATE(Precision::kF32, Precision::kTf32, Precision::kBf16);
  const int steps = GENERATE(1, 2, 3);
  INFO(to_string(precision) << ", " << steps << " steps");
  const CompileOptions options{.max_batch_size = 5, .precision = precision};
  const KeptSamples kept = make_kept_samples(graph, 20);
  const Samples some = make_samples(graph, 5, 8);
  const auto executor = compile(*backend, graph, options, make_parameters(graph, 5));
  OptimizerSpec optimizer = default_optimizer(OptimizerKind::kSgd);
  optimizer.learning_rate = LearningRate(0.5f);
  predict(*executor, graph, some);
  train_resident(*executor, graph, optimizer, kept, 5, steps, 1);
  const std::vector<float> logits = predict(*executor, graph, some);
  const auto fresh = compile(*backend, graph, options, read_all(*executor, graph));
  CHECK(logits == predict(*fresh, graph, some));
}

TEST_CASE("a long run of resident steps gives the same result when it is divided into uploads") {
  const auto backend = make_backend_under_test();
  auto net = slim::Net(9);
  const Graph graph = net.fully_connected(3, "pred", Activation::kNone).build();
  const KeptSamples kept = make_kept_samples(graph, 30);
  OptimizerSpec optimizer = default_optimizer(OptimizerKind::kSgd);
  optimizer.learning_rate = LearningRate(0.01f);
  const auto executor = compile(*backend, graph, {.max_batch_size = 2}, make_parameters(graph, 5));
  const auto oracle = compile(*make_reference_backend(), graph, {.max_batch_size = 2}, make_parameters(graph, 5));
  const Trained trained = train_resident(*executor, graph, optimizer, kept, 2, 300, 300);
  const Trained expected = train_resident(*oracle, graph, optimizer, kept, 2, 300, 300);
  CHECK(relative_error(trained.parameters, expected.parameters) < 1e-4);
}

TEST_CASE("devices share a batch like towers") {
  if (num_devices_under_test() < 2) SKIP_CASE("this machine has only one device");
  const int devices = std::min(num_devices_under_test(), 3);
  GpuOptions all;
  all.devices.clear();
  for (int i = 0; i < devices; ++i) all.devices.push_back(i);
  const auto backend = make_backend_under_test(all);
  const auto alone_backend = make_backend_under_test();
  const Graph graph = small_graph();
  const std::vector<float> block = make_parameters(graph, 5);
  const CompileOptions options{.max_batch_size = 7, .seed = 2};
  const auto executor = compile(*backend, graph, options, block);
  const auto alone = compile(*alone_backend, graph, options, block);
  for (const std::int64_t size : {7, 2, 1}) {  // with one sample, all devices but one have nothing to do
    const Samples samples = make_samples(graph, size, 3);
    const TrainOutcome outcome = train(*executor, samples.batch(5)), expected = train(*alone, samples.batch(5));
    CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(1e-5));
    CHECK(outcome.result.correct == expected.result.correct);
    check_gradients(graph, outcome.gradients, expected.gradients, 1e-5);
    CHECK(relative_error(predict(*executor, graph, samples), predict(*alone, graph, samples)) < 1e-5);
  }
  const KeptSamples kept = make_kept_samples(graph, 20);
  OptimizerSpec optimizer = default_optimizer(OptimizerKind::kMomentum);
  for (const std::int64_t size : {7, 2}) {
    const Trained trained = train_resident(*executor, graph, optimizer, kept, size, 5, 2);
    const Trained expected = train_resident(*alone, graph, optimizer, kept, size, 5, 2);
    CHECK(trained.last.loss == Approx(expected.last.loss).epsilon(1e-4));
    CHECK(relative_error(trained.parameters, expected.parameters) < 1e-5);
  }
}

TEST_CASE("a share of the memory is never exceeded, and the error names a share that is enough") {
  const Graph graph = mnist_cnn();
  const auto tight = make_backend_under_test({.memory_fraction = 1e-4, .allow_growth = true});
  CHECK(fails_with(ExitCode::kResources, "/gpu:0: out of memory", [&] { tight->compile(graph, {}); }));
  CHECK(fails_with(ExitCode::kResources, "--per_process_gpu_memory_fraction=", [&] { tight->compile(graph, {}); }));
  CHECK(fails_with(ExitCode::kUsage, "per_process_gpu_memory_fraction",
                   [] { make_backend_under_test({.memory_fraction = 1.5}); }));
}

TEST_CASE("a missing GPU is refused with a list of those that are present") {
  GpuOptions options;
  options.devices = {num_devices_under_test()};
  CHECK(fails_with(ExitCode::kUsage, fmt::format("device /gpu:{}", num_devices_under_test()),
                   [&] { make_backend_under_test(options); }));
}

TEST_CASE("a layer without a kernel is named") {
  auto net = slim::Net(20 * 20);
  net.reshape(20, 20, 1).conv2d(2, {3, 3}, "conv").max_pool2d({16, 16}, "large_pool", 1).flatten("flatten");
  const Graph graph = net.fully_connected(3, "pred", Activation::kNone).build();
  const auto backend = make_backend_under_test();
  CHECK(!backend->can_compute(graph.layers[1], Precision::kF32));
  CHECK(backend->can_compute(graph.layers[0], Precision::kF32));
  CHECK(fails_with(ExitCode::kUsage, "layer large_pool has no kernel", [&] { backend->compile(graph, {}); }));
}
