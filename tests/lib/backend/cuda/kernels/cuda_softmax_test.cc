#include "lib/backend/cuda/kernels/softmax.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "lib/backend/softmax_loss.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/device_tensor.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

struct Outcome {
  std::vector<double> losses, gradient;
  std::vector<std::uint8_t> correct;
  std::uint32_t cursor = 0;  // started at 41
};

struct Problem {
  std::int64_t classes = 0;
  std::vector<double> logits;
  std::vector<std::uint8_t> labels;
  std::int64_t divisor = 1;
};

Outcome compute(const Problem& problem, NumberType type = NumberType::kF32, bool counts = true) {
  const auto batch = std::ssize(problem.labels);
  const DeviceTensor logits(NumberType::kF32, Layout::kNchw, batch, {problem.classes, 1, 1}, problem.logits);
  const MarkedArray<std::uint8_t> labels(problem.labels), correct(problem.labels.size());
  const MarkedArray<float> losses(problem.labels.size());
  const MarkedArray<std::uint32_t> cursor(std::vector<std::uint32_t>{41});
  const DeviceTensor gradient(type, Layout::kNhwc, batch, {problem.classes, 1, 1});
  softmax_cross_entropy(nullptr, {.logits = static_cast<const float*>(logits.view().data),
                                  .labels = labels.data(),
                                  .divisor = problem.divisor,
                                  .gradient = gradient.view(),
                                  .losses = losses.data(),
                                  .correct = correct.data(),
                                  .cursor = counts ? cursor.data() : nullptr});
  return {to_doubles(losses.fetch()), gradient.fetch(), correct.fetch(), cursor.fetch()[0]};
}

Problem random_problem(std::int64_t batch, std::int64_t classes) {
  Problem problem{.classes = classes, .logits = random_numbers(batch * classes, 1), .labels = {}, .divisor = batch};
  for (double& logit : problem.logits) logit *= 8;
  Random random(2, 0);
  for (std::int64_t n = 0; n < batch; ++n) {
    problem.labels.push_back(static_cast<std::uint8_t>(random.below(static_cast<std::uint64_t>(classes))));
  }
  return problem;
}

}  // namespace

TEST_CASE("losses, gradient and accuracy match the host's softmax") {
  const std::int64_t batch = GENERATE(1, 3, 50);
  const std::int64_t classes = GENERATE(2, 10, 32, 33, 256);
  Problem problem = random_problem(batch, classes);
  std::vector<double> gradient(problem.logits.size());
  const StepResult expected = softmax_cross_entropy<double>(problem.logits, problem.labels, gradient);
  for (const NumberType type : {NumberType::kF32, NumberType::kBf16}) {
    const Outcome outcome = compute(problem, type);
    const double loss = std::accumulate(outcome.losses.begin(), outcome.losses.end(), 0.0) / static_cast<double>(batch);
    CHECK(loss == Approx(expected.loss).epsilon(1e-5));
    CHECK(std::accumulate(outcome.correct.begin(), outcome.correct.end(), 0) == expected.correct);
    CHECK(worst_error(outcome.gradient, gradient) < (type == NumberType::kF32 ? 1e-6 : 1.0 / 512));
  }
}

TEST_CASE("the gradient is scaled for the whole step when other devices have samples of it") {
  Problem problem = random_problem(3, 10);
  std::vector<double> expected = compute(problem).gradient;
  problem.divisor = 12;
  for (double& number : expected) number /= 4;
  CHECK(worst_error(compute(problem).gradient, expected) < 1e-7);
}

TEST_CASE("every sample has a separate loss") {
  // Softmax of (0, ln 3) is (1/4, 3/4).
  const Outcome outcome = compute({2, {0.0, std::log(3.0), std::log(3.0), 0.0}, {0, 0}, 2});
  CHECK(outcome.losses[0] == Approx(std::log(4.0)));
  CHECK(outcome.losses[1] == Approx(std::log(4.0 / 3.0)));
  CHECK(outcome.correct == std::vector<std::uint8_t>{0, 1});
}

TEST_CASE("a tie counts for the first class only") {
  CHECK(compute({3, {2.0, 2.0, 1.0, 2.0, 2.0, 1.0}, {0, 1}, 2}).correct == std::vector<std::uint8_t>{1, 0});
  std::vector<double> row(256, -1.0);
  row[40] = row[100] = 5.0;  // classes of different lanes; the later class is in an earlier lane
  row[33] = 5.0;
  CHECK(compute({256, row, {33}, 1}).correct[0] == 1);
  CHECK(compute({256, row, {100}, 1}).correct[0] == 0);
}

TEST_CASE("huge logits do not overflow") {
  CHECK(compute({2, {1e30, 0.0}, {0}, 1}).losses[0] == 0.0);
  CHECK(compute({2, {1e30, 0.0}, {1}, 1}).losses[0] == Approx(1e30));
  CHECK(compute({2, {-1e30, -1e30}, {1}, 1}).losses[0] == Approx(std::log(2.0)));
}

TEST_CASE("logits that are not finite make their sample's loss NaN") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const Outcome outcome = compute({2, {nan, 0.0, 0.0, nan, infinity, 0.0, 0.0, 1.0}, {0, 0, 0, 0}, 4});
  CHECK(std::isnan(outcome.losses[0]));
  CHECK(std::isnan(outcome.losses[1]));
  CHECK(std::isnan(outcome.losses[2]));
  CHECK(std::isfinite(outcome.losses[3]));
}

TEST_CASE("the next step's number is incremented once, or not at all") {
  const Problem problem = random_problem(50, 10);
  CHECK(compute(problem).cursor == 42);
  CHECK(compute(problem, NumberType::kF32, false).cursor == 41);
}
