// Compares whole training runs of mnist_cnn (backend and optimizer together) with the losses that PyTorch computed from
// the same weights and batches.
#include "tests/golden/mnist_cnn_golden.h"

#include <vector>

#include "lib/backend/backend.h"
#include "lib/base/random.h"
#include "lib/graph/initializers.h"
#include "lib/optim/optimizer.h"
#include "models/models.h"
#include "tests/support/catch.h"
#include "tests/support/cpu_kernels.h"

using namespace distmnist;

namespace {

struct Samples {
  std::vector<float> images;
  std::vector<std::uint8_t> labels;
};

// Batch number `step`, identical to that of the generator script.
Samples make_batch(std::int64_t batch_size, std::int64_t step) {
  const Random noise(golden::kDataSeed, golden::kImageStream), label(golden::kDataSeed, golden::kLabelStream);
  Samples samples;
  for (std::int64_t n = step * batch_size; n < (step + 1) * batch_size; ++n) {
    const std::uint64_t digit = label.at(static_cast<std::uint64_t>(n)) % 10;
    samples.labels.push_back(static_cast<std::uint8_t>(digit));
    for (std::uint64_t pixel = 0; pixel < 784; ++pixel) {
      const std::uint64_t row = pixel / 28, top = 2 * digit;
      const float band = row >= top && row < top + 8 ? 1.0f : 0.0f;
      samples.images.push_back(0.5f * Random::to_unit(noise.at(static_cast<std::uint64_t>(n) * 784 + pixel)) +
                               0.5f * band);
    }
  }
  return samples;
}

// The loss of each step of a run with Adam at its defaults.
std::vector<double> train(const std::string& backend, std::int64_t batch_size, int threads) {
  const Graph graph = mnist_cnn();
  const OptimizerSpec adam{.kind = OptimizerKind::kAdam, .learning_rate = 1e-4f};
  const auto size = static_cast<std::size_t>(graph.num_parameters);
  std::vector<float> parameters(size), m(size), v(size);
  initialize(graph, golden::kWeightSeed, parameters);
  const auto executor = make_backend(backend)->compile(graph, {.max_batch_size = batch_size, .threads = threads});
  std::vector<double> losses;
  for (int step = 0; step < golden::kSteps; ++step) {
    executor->load({0, graph.num_parameters}, parameters);
    const Samples samples = make_batch(batch_size, step);
    const Batch batch{.size = batch_size, .images = samples.images, .labels = samples.labels};
    losses.push_back(executor->train_step(batch, {}).loss);
    const std::vector<std::span<float>> slots = {m, v};
    apply_update(adam, step + 1, {parameters, slots, executor->gradients(), parameters});
  }
  return losses;
}

// The loss is a mean over the samples, so its error is far below that of their logits, which pass through four
// products. Relative error: about 1e-8 with float32, and 4e-7 with two bfloat16 per number (support/tolerance.h), whose
// logits are off by 4e-6 in the quadratic mean. After that any two runs drift apart, whatever their precision, because
// Adam makes a full step from a gradient that is only rounding error, and a relu near its kink can switch sides. After
// twenty steps the drift is up to 5e-5.
double tolerance(std::size_t step) {
  return step < 10 ? 1e-5 : 5e-4;
}

void check(const std::vector<double>& losses, std::span<const double> expected) {
  REQUIRE(losses.size() == expected.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    INFO("step " << i);
    CHECK(losses[i] == Approx(expected[i]).epsilon(tolerance(i)));
  }
}

}  // namespace

TEST_CASE("twenty steps of fifty samples on the cpu backend follow PyTorch") {
  if (!has_cpu_kernels()) SKIP_CASE("this build does not have oneDNN, and the plain loops take too long");
  const int threads = GENERATE(1, 2);
  check(train("cpu", 50, threads), golden::kLossesBatch50);
}

// A tenth of the batch, because the plain loops are slow.
TEST_CASE("twenty steps of five samples on every backend follow PyTorch") {
  const std::string backend = GENERATE("reference", "cpu");
  check(train(backend, 5, 1), golden::kLossesBatch5);
}
