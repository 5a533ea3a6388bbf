#include "lib/backend/softmax_loss.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

struct Outcome {
  StepResult result;
  std::vector<double> gradient;
};

Outcome compute(const std::vector<double>& logits, const std::vector<std::uint8_t>& labels) {
  Outcome outcome{.result = {}, .gradient = std::vector<double>(logits.size())};
  outcome.result = softmax_cross_entropy<double>(logits, labels, outcome.gradient);
  return outcome;
}

}  // namespace

TEST_CASE("the loss and its gradient follow the definition") {
  // Softmax of (0, ln 3) is (1/4, 3/4).
  const Outcome outcome = compute({0.0, std::log(3.0), std::log(3.0), 0.0}, {0, 0});
  CHECK(outcome.result.loss == Approx((std::log(4.0) + std::log(4.0 / 3.0)) / 2));
  CHECK(outcome.result.correct == 1);
  const std::vector<double> expected = {-0.375, 0.375, -0.125, 0.125};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(outcome.gradient[i] == Approx(expected[i]));
}

TEST_CASE("a tie counts for the first class only") {
  CHECK(compute({2.0, 2.0, 1.0}, {0}).result.correct == 1);
  CHECK(compute({2.0, 2.0, 1.0}, {1}).result.correct == 0);
}

TEST_CASE("huge logits do not overflow") {
  CHECK(compute({1e30, 0.0}, {0}).result.loss == 0.0);
  CHECK(compute({1e30, 0.0}, {1}).result.loss == Approx(1e30));
  CHECK(compute({-1e30, -1e30}, {1}).result.loss == Approx(std::log(2.0)));
}

TEST_CASE("logits that are not finite make the loss NaN") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(std::isnan(compute({nan, 0.0}, {0}).result.loss));
  CHECK(std::isnan(compute({0.0, nan}, {0}).result.loss));
  CHECK(std::isnan(compute({infinity, 0.0}, {0}).result.loss));
}

TEST_CASE("an invalid label is reported with its sample") {
  CHECK(fails_with(ExitCode::kData, "sample 1 of the batch has label 2, but the model has 2 classes", [] {
    compute({0.0, 0.0, 0.0, 0.0}, {1, 2});
  }));
}

TEST_CASE("floats and doubles agree") {
  const std::vector<float> logits = {0.5f, -1.25f, 3.0f, 0.0f, 0.25f, -2.0f};
  const std::vector<std::uint8_t> labels = {2, 1};
  std::vector<float> gradient(logits.size());
  const StepResult result = softmax_cross_entropy<float>(logits, labels, gradient);
  const Outcome expected = compute({logits.begin(), logits.end()}, labels);
  CHECK(result.loss == Approx(expected.result.loss));
  CHECK(result.correct == expected.result.correct);
  for (std::size_t i = 0; i < gradient.size(); ++i) CHECK(gradient[i] == Approx(expected.gradient[i]).epsilon(1e-6));
}
