#include "lib/backend/cuda/kernels/batch.h"

#include <vector>

#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/device_tensor.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

constexpr std::int32_t kCount = 20;  // resident samples

std::vector<std::uint8_t> bytes(std::int64_t count, std::uint64_t seed, std::uint64_t bound = 256) {
  Random random(seed, 1);
  std::vector<std::uint8_t> values(static_cast<std::size_t>(count));
  for (std::uint8_t& value : values) value = static_cast<std::uint8_t>(random.below(bound));
  return values;
}

// Steps queued on the device; the second one is next.
struct Waiting {
  std::vector<StepScalars> scalars = {{5, 0.5f, 0}, {1'000'000'000'000, 0.25f, 0}, {7, 0.125f, 0}};
  std::vector<std::int32_t> samples;
  std::uint32_t cursor = 1;
};

Waiting waiting(std::int64_t batch) {
  Waiting result;
  Random random(3, 2);
  for (std::size_t i = 0; i < result.scalars.size() * static_cast<std::size_t>(batch); ++i) {
    result.samples.push_back(static_cast<std::int32_t>(random.below(kCount)));
  }
  return result;
}

}  // namespace

TEST_CASE("a batch is gathered from the resident samples, with its labels and the step's scalars") {
  const auto [shape, batch] = GENERATE(
      table<Shape, std::int64_t>({{{1, 28, 28}, 50}, {{3, 5, 7}, 3}, {{1, 1, 1}, 1}, {{17, 1, 1}, 4}, {{2, 3, 3}, 1}}));
  const std::vector<std::uint8_t> pixels = bytes(kCount * shape.size(), 1), labels = bytes(kCount, 2, 10);
  const MarkedArray<std::uint8_t> kept_pixels(pixels), kept_labels(labels);
  const Waiting steps = waiting(batch);
  const MarkedArray<StepScalars> scalars(steps.scalars);
  const MarkedArray<std::int32_t> samples(steps.samples);
  const MarkedArray<std::uint32_t> cursor(std::vector<std::uint32_t>{steps.cursor});

  for_each_kind([&](NumberType type, Layout layout) {
    const MarkedArray<StepScalars> current(1);
    const DeviceTensor input(type, layout, batch, shape);
    const MarkedArray<std::uint8_t> batch_labels(static_cast<std::size_t>(batch));
    gather_batch(nullptr, {kept_pixels.data(), kept_labels.data()},
                 {scalars.data(), samples.data(), cursor.data(), current.data()}, {input.view(), batch_labels.data()});

    std::vector<double> expected;
    std::vector<std::uint8_t> expected_labels;
    for (std::int64_t n = 0; n < batch; ++n) {
      const std::int32_t sample = steps.samples[steps.cursor * batch + n];
      expected_labels.push_back(labels[sample]);
      for (std::int64_t i = 0; i < shape.size(); ++i) {
        const float pixel = static_cast<float>(pixels[sample * shape.size() + i]) / 255.0f;
        expected.push_back(type == NumberType::kF32 ? pixel : __bfloat162float(__float2bfloat16_rn(pixel)));
      }
    }
    CHECK(input.fetch() == expected);
    CHECK(batch_labels.fetch() == expected_labels);
    CHECK(current.fetch()[0].first_sample == steps.scalars[1].first_sample);
    CHECK(current.fetch()[0].rate == steps.scalars[1].rate);
    CHECK(cursor.fetch()[0] == steps.cursor);
  });
}

TEST_CASE("a batch from the host is staged in any type and layout") {
  const auto [shape, batch] =
      GENERATE(table<Shape, std::int64_t>({{{1, 28, 28}, 50}, {{3, 5, 7}, 3}, {{1, 1, 1}, 1}, {{784, 1, 1}, 3}}));
  const std::vector<double> numbers = random_numbers(batch * shape.size(), 4);
  const MarkedArray<float> images(std::vector<float>(numbers.begin(), numbers.end()));
  for_each_kind([&](NumberType type, Layout layout) {
    const DeviceTensor input(type, layout, batch, shape);
    stage_batch(nullptr, images.data(), input.view());
    CHECK(input.fetch() == numbers);
  });
}
