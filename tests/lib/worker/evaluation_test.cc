#include "lib/worker/evaluation.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace distmnist;

namespace {

// Predicts the class p for image i, whose first pixel is p, with a logit of 5; the other logits are 0.
class FirstPixelSays : public Executor {
 public:
  void load(Range, std::span<const float>) override {}
  void read(Range, std::span<float>) const override {}
  StepResult train_step(const Batch&, const GradientReady&) override { return {}; }
  std::vector<std::string> kernels() override { return {}; }
  std::span<float> gradients() override { return {}; }
  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) override {
    largest_batch = std::max(largest_batch, count);
    for (std::int64_t i = 0; i < count; ++i) {
      for (int c = 0; c < 10; ++c) logits[static_cast<std::size_t>(i * 10 + c)] = 0;
      const auto says = static_cast<int>(std::lround(images[static_cast<std::size_t>(i) * 4] * 255));
      logits[static_cast<std::size_t>(i * 10 + says)] = certainty;
    }
  }
  float certainty = 5;
  std::int64_t largest_batch = 0;
};

}  // namespace

TEST_CASE("accuracy, loss and confusion count every image once, including the last partial batch") {
  // Images of 2x2 pixels; the model predicts 3, 3, 1, 0, 9 for the labels 3, 2, 1, 0, 9.
  const std::vector<std::uint8_t> pixels = {3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0};
  const std::vector<std::uint8_t> labels = {3, 2, 1, 0, 9};
  ImageSet images;
  images.count = 5;
  images.height = images.width = 2;
  images.pixels = pixels;
  images.labels = labels;
  FirstPixelSays executor;
  const Evaluation evaluation = evaluate(executor, images, 2, 10);
  CHECK(executor.largest_batch == 2);
  CHECK(evaluation.count == 5);
  CHECK(evaluation.accuracy == Approx(0.8));
  const double right = -std::log(std::exp(5.0) / (std::exp(5.0) + 9)), wrong = -std::log(1 / (std::exp(5.0) + 9));
  CHECK(evaluation.loss == Approx((4 * right + wrong) / 5));
  CHECK(evaluation.confusion[3][3] == 1);
  CHECK(evaluation.confusion[2][3] == 1);
  CHECK(evaluation.confusion[2][2] == 0);
  const auto table = confusion_table(evaluation);
  REQUIRE(table.size() == 11);
  CHECK(table[3] == "              2     0     0     0     1     0     0     0     0     0     0");
}

TEST_CASE("a class with probability zero has a large but finite loss") {
  const std::vector<std::uint8_t> pixels = {3, 0, 0, 0}, labels = {2};
  ImageSet images;
  images.count = 1;
  images.height = images.width = 2;
  images.pixels = pixels;
  images.labels = labels;
  FirstPixelSays executor;
  executor.certainty = 1e6f;
  const Evaluation evaluation = evaluate(executor, images, 1, 10);
  CHECK(std::isfinite(evaluation.loss));
  CHECK(evaluation.loss > 600);
}

TEST_CASE("softmax does not overflow and sums to one") {
  const std::vector<float> logits = {1000, 1000, -1000};
  const auto probabilities = softmax_of(logits);
  CHECK(probabilities[0] == Approx(0.5));
  CHECK(probabilities[1] == Approx(0.5));
  CHECK(probabilities[2] == Approx(0.0));
}

TEST_CASE("pixels are scaled to 0..1") {
  const std::vector<std::uint8_t> pixels = {0, 51, 255};
  std::vector<float> values(3);
  scale_pixels(pixels, values);
  CHECK(values[0] == 0.0f);
  CHECK(values[1] == Approx(0.2f));
  CHECK(values[2] == 1.0f);
}
