// Compares the cpu backend's executor with AMX tile kernels to the executor that rounds factors to bfloat16 and
// multiplies them as float32. The results differ only by the order of sums and the rounding that follows from it.
#include <algorithm>

#include "lib/backend/cpu/cpu_executor.h"
#include "lib/backend/reference/reference_backend.h"
#include "lib/graph/slim.h"
#include "lib/math/half.h"
#include "models/models.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/amx.h"
#include "tests/support/catch.h"
#include "tests/support/tolerance.h"

using namespace distmnist;

namespace {

constexpr double kLargestError = 3e-3;
constexpr CpuOptions kPortable{.instruction_set = InstructionSet::kPortable};

CompileOptions options_of(std::int64_t batch, Precision precision = Precision::kBf16) {
  return {.max_batch_size = batch, .precision = precision, .threads = 2};
}

// Layers that tiles compute, alone and before other layers.
std::vector<BackendCase> cases_in_tiles() {
  std::vector<BackendCase> cases;
  const auto flat = [&](std::int64_t in, std::int64_t hidden, std::int64_t batch) {
    auto net = slim::Net(in);
    net.fully_connected(hidden, "hidden").dropout(0.7f, "dropout").fully_connected(10, "pred", Activation::kNone);
    cases.push_back({"fully connected", net.build(), batch});
  };
  flat(37, 19, 1);
  flat(784, 500, 50);
  flat(3136, 100, 33);
  const auto images = [&](std::int64_t height, std::int64_t width, std::int64_t channels) {
    auto net = slim::Net(height * width * channels);
    net.reshape(height, width, channels);
    return net;
  };
  const auto classify = [](slim::Net& net) {
    return net.flatten("flatten").fully_connected(5, "pred", Activation::kNone).build();
  };
  auto three = images(8, 12, 1);
  three.conv2d(32, {3, 3}, "conv1").max_pool2d({2, 2}, "pool1").conv2d(96, {5, 5}, "conv2").max_pool2d({2, 2}, "pool2");
  three.conv2d(7, {3, 3}, "conv3");
  cases.push_back({"convolutions before another one", classify(three), 5});
  auto first = images(4, 28, 64);
  first.conv2d(32, {5, 5}, "conv1").max_pool2d({2, 2}, "pool1");
  cases.push_back({"a first convolution of many channels", classify(first), 2});
  auto large = images(6, 6, 1);
  large.conv2d(32, {7, 7}, "conv1").max_pool2d({2, 2}, "pool1");
  cases.push_back({"a window too large for a tile", classify(large), 2});
  return cases;
}

}  // namespace

TEST_CASE("a training step in tiles equals one with rounded factors") {
  const cpu::AmxKernels* kernels = GENERATE(from_range(amx_kernels_under_test()));
  std::vector<BackendCase> cases = cases_in_tiles();
  for (BackendCase& one : backend_cases()) cases.push_back(std::move(one));
  for (const BackendCase& c : cases) {
    INFO(c.name);
    const std::vector<float> block = make_parameters(c.graph, 1);
    const Samples samples = make_samples(c.graph, c.batch, 1);
    cpu::CpuExecutor tiles(c.graph, options_of(c.batch), kPortable, kernels);
    cpu::CpuExecutor rounded(c.graph, options_of(c.batch), kPortable);
    for (cpu::CpuExecutor* executor : {&tiles, &rounded}) executor->load({0, c.graph.num_parameters}, block);
    CHECK(relative_error(predict(tiles, c.graph, samples), predict(rounded, c.graph, samples)) < kLargestError);
    const TrainOutcome outcome = train(tiles, samples.batch()), expected = train(rounded, samples.batch());
    CHECK(relative_error(outcome.gradients, expected.gradients) < kLargestError);
    for (const Variable& variable : c.graph.variables) {
      INFO(variable.name);
      CHECK(relative_error(slice(std::span<const float>(outcome.gradients), variable.range),
                           slice(std::span<const float>(expected.gradients), variable.range)) < kLargestError);
    }
  }
}

TEST_CASE("a training step of float32 in tiles is close to one in double precision") {
  const cpu::AmxKernels* kernels = GENERATE(from_range(amx_kernels_under_test()));
  std::vector<BackendCase> cases = cases_in_tiles();
  cases.push_back({"mnist_cnn", mnist_cnn(), 6});
  for (const BackendCase& c : cases) {
    INFO(c.name);
    const double bound = kErrorOfTwoHalves * products_of(c.graph);
    const std::vector<float> block = make_parameters(c.graph, 1);
    const Samples samples = make_samples(c.graph, c.batch, 1);
    cpu::CpuExecutor tiles(c.graph, options_of(c.batch, Precision::kF32), kPortable, kernels);
    tiles.load({0, c.graph.num_parameters}, block);
    const std::vector<float> logits = predict(tiles, c.graph, samples);
    const TrainOutcome outcome = train(tiles, samples.batch());

    const auto doubles = make_executor("reference", c.graph, {.max_batch_size = c.batch}, block);
    CHECK(relative_error(logits, predict(*doubles, c.graph, samples)) < bound);
    force_choices(*doubles, tiles.probe()->choices());
    const TrainOutcome expected = train(*doubles, samples.batch());
    for (const Variable& variable : c.graph.variables) {
      INFO(variable.name);
      CHECK(relative_error(slice(std::span<const float>(outcome.gradients), variable.range),
                           slice(std::span<const float>(expected.gradients), variable.range)) < bound);
    }
  }
}

TEST_CASE("new parameters and smaller batches take effect in tiles") {
  const cpu::AmxKernels* kernels = GENERATE(from_range(amx_kernels_under_test()));
  const Precision precision = GENERATE(Precision::kF32, Precision::kBf16);
  const Graph graph = mlp();
  cpu::CpuExecutor executor(graph, options_of(40, precision), kPortable, kernels);
  for (const std::int64_t batch : {40, 7, 40}) {
    const std::vector<float> block = make_parameters(graph, static_cast<std::uint64_t>(batch));
    executor.load({0, graph.num_parameters}, block);
    cpu::CpuExecutor fresh(graph, options_of(batch, precision), kPortable, kernels);
    fresh.load({0, graph.num_parameters}, block);
    const Samples samples = make_samples(graph, batch, 1);
    CHECK(predict(executor, graph, samples) == predict(fresh, graph, samples));
    CHECK(train(executor, samples.batch()).gradients == train(fresh, samples.batch()).gradients);
  }
}

TEST_CASE("resident training in tiles equals separate steps and updates bit for bit") {
  const cpu::AmxKernels* kernels = GENERATE(from_range(amx_kernels_under_test()));
  const Precision precision = GENERATE(Precision::kF32, Precision::kBf16);
  const Graph graph = mlp();
  const std::int64_t batch = 5;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(20 * graph.input.size())), labels(20);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 % 256);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::uint8_t>(i % 10);
  std::vector<float> block = make_parameters(graph, 1);
  const OptimizerSpec adam = default_optimizer(OptimizerKind::kAdam);
  std::vector<std::vector<float>> slots(2, std::vector<float>(block.size()));
  const std::vector<std::span<float>> slot_spans(slots.begin(), slots.end());

  cpu::CpuExecutor resident(graph, options_of(batch, precision), kPortable, kernels);
  resident.load({0, graph.num_parameters}, block);
  ResidentTraining& training = *resident.resident_training();
  training.keep_samples({20, pixels, labels});
  training.start(adam, 0, std::vector<std::span<const float>>(slots.begin(), slots.end()));
  std::vector<std::int32_t> numbers(15);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int32_t>(i * 7 % 20);
  training.run({.batch_size = batch, .samples = numbers});

  cpu::CpuExecutor by_hand(graph, options_of(batch, precision), kPortable, kernels);
  by_hand.load({0, graph.num_parameters}, block);
  for (std::int64_t step = 0; step < 3; ++step) {
    Samples samples;
    for (const std::int32_t number : std::span(numbers).subspan(static_cast<std::size_t>(step * batch), batch)) {
      for (std::int64_t i = 0; i < graph.input.size(); ++i) {
        const auto at = static_cast<std::size_t>(number * graph.input.size() + i);
        samples.images.push_back(static_cast<float>(pixels[at]) / 255.0f);
      }
      samples.labels.push_back(labels[static_cast<std::size_t>(number)]);
    }
    by_hand.train_step(samples.batch(), {});
    apply_update(adam, step + 1, {block, slot_spans, by_hand.gradients(), block});
    by_hand.load({0, graph.num_parameters}, block);
  }
  CHECK(read_all(resident, graph) == block);
}

TEST_CASE("parameters as bfloat16 and gradients rounded to bfloat16 are those of float32") {
  const cpu::AmxKernels* kernels = GENERATE(from_range(amx_kernels_under_test()));
  const cpu::AmxKernels* const maybe_kernels =
      GENERATE_COPY(values({kernels, static_cast<const cpu::AmxKernels*>(nullptr)}));
  const Precision precision = GENERATE(Precision::kF32, Precision::kBf16);
  const Graph graph = GENERATE(mlp(), mnist_cnn());
  const std::int64_t batch = 5;
  std::vector<float> block = make_parameters(graph, 1);
  std::vector<std::uint16_t> halves(block.size());
  bf16_from_f32(block, halves);
  f32_from_bf16(halves, block);
  cpu::CpuExecutor floats(graph, options_of(batch, precision), kPortable, maybe_kernels);
  cpu::CpuExecutor rounded(graph, options_of(batch, precision), kPortable, maybe_kernels);
  const std::span<const std::uint16_t> gradients = rounded.round_gradients();
  REQUIRE(gradients.size() == block.size());
  const auto load_halves = [&](Range range) {
    REQUIRE(rounded.load_bf16(range, slice(std::span<const std::uint16_t>(halves), range)));
  };
  // In the second turn there are tiles to load into.
  for (std::uint64_t turn = 0; turn < 2; ++turn) {
    std::ranges::rotate(block, block.begin() + 1);
    std::ranges::rotate(halves, halves.begin() + 1);
    floats.load({0, graph.num_parameters}, block);
    const std::int64_t middle = graph.num_parameters / 2 + 3;
    load_halves({middle, graph.num_parameters - middle});
    load_halves({0, middle});
    CHECK(read_all(rounded, graph) == block);
    const Samples samples = make_samples(graph, batch, turn);
    std::vector<Range> reported;
    floats.train_step(samples.batch(), {});
    rounded.train_step(samples.batch(), [&](Range variable) { reported.push_back(variable); });
    CHECK(reported.size() == graph.variables.size());
    std::vector<std::uint16_t> expected(block.size());
    bf16_from_f32(floats.gradients(), expected);
    CHECK(std::ranges::equal(gradients, expected));
  }
  // Then float32 again, which must not be lost in rounded copies.
  block = make_parameters(graph, 2);
  rounded.load({0, graph.num_parameters}, block);
  floats.load({0, graph.num_parameters}, block);
  CHECK(read_all(rounded, graph) == block);
  const Samples samples = make_samples(graph, batch, 7);
  CHECK(predict(rounded, graph, samples) == predict(floats, graph, samples));
}

TEST_CASE("a piece of float32 after pieces of bfloat16 leaves the other numbers as they are") {
  const cpu::AmxKernels* kernels = GENERATE(from_range(amx_kernels_under_test()));
  const Graph graph = mlp();
  std::vector<float> block = make_parameters(graph, 1);
  std::vector<std::uint16_t> halves(block.size());
  cpu::CpuExecutor executor(graph, options_of(1), kPortable, kernels);
  executor.load({0, graph.num_parameters}, block);
  predict(executor, graph, make_samples(graph, 1, 1));
  bf16_from_f32(block, halves);
  f32_from_bf16(halves, block);
  executor.load_bf16({0, graph.num_parameters}, halves);
  const Range piece{1003, 2001};
  for (float& number : slice(std::span(block), piece)) number = 1.00001f;
  executor.load(piece, slice(std::span<const float>(block), piece));
  CHECK(read_all(executor, graph) == block);
}
