#include "lib/backend/cuda/kernels/pooling.h"

#include <algorithm>
#include <vector>

#include "lib/backend/reference/layers.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/device_tensor.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

struct Case {
  Shape input;
  PoolWindow window;
  std::int64_t batch;

  Shape output() const {
    return {input.channels, (input.height - window.height) / window.stride + 1,
            (input.width - window.width) / window.stride + 1};
  }
  template <typename Pool>
  Pool layer() const {
    return {.scope = "pool",
            .input = input,
            .output = output(),
            .window = {.height = window.height, .width = window.width, .stride = window.stride}};
  }
};

// Remaining rows and columns, overlapping windows, windows with gaps, and one window over everything.
Case any_case() {
  return GENERATE(values<Case>({{{5, 7, 9}, {2, 2, 2}, 3},
                                {{3, 8, 8}, {3, 3, 2}, 1},
                                {{4, 6, 5}, {2, 3, 1}, 50},
                                {{1, 28, 28}, {2, 2, 2}, 3},
                                {{33, 5, 5}, {2, 2, 3}, 3},
                                {{2, 6, 6}, {6, 6, 1}, 3},
                                {{8, 14, 14}, {2, 2, 2}, 2}}));
}

// The results of plain loops for max(act(x + bias)) and its gradient.
struct Expected {
  std::vector<double> y, dx;
};
Expected max_pool(const Case& each, std::vector<double> x, const std::vector<double>& bias, bool relu,
                  std::vector<double> dy) {
  const std::int64_t plane = each.input.height * each.input.width;
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] += bias[i / plane % each.input.channels];
    if (relu) x[i] = std::max(x[i], 0.0);
  }
  Expected expected;
  expected.y.resize(each.batch * each.output().size());
  expected.dx.resize(x.size());
  const Layer layer = each.layer<MaxPool2d>();
  const reference::Pass pass{.batch = each.batch, .parameters = {}, .dropout_mask = {}};
  reference::forward(layer, pass, x, expected.y);
  reference::backward(layer, pass, {x, expected.y}, {.output = dy, .input = expected.dx});
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (relu && !(x[i] > 0)) expected.dx[i] = 0;
  }
  return expected;
}

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("max pooling with bias and relu, and its gradient, match the plain loops") {
  const Case each = any_case();
  const bool relu = GENERATE(true, false);
  const std::vector<double> x = random_numbers(each.batch * each.input.size(), 1);
  const std::vector<double> dy = random_numbers(each.batch * each.output().size(), 2);
  const std::vector<double> bias = random_numbers(each.input.channels, 3);
  const MarkedArray<float> device_bias(floats(bias));
  const Expected expected = max_pool(each, x, bias, relu, dy);

  for_each_kind([&](NumberType x_type, Layout x_layout) {
    for_each_kind([&](NumberType y_type, Layout y_layout) {
      const DeviceTensor from(x_type, x_layout, each.batch, each.input, x);
      const DeviceTensor to(y_type, y_layout, each.batch, each.output());
      const MarkedArray<std::uint8_t> chosen(expected.y.size());
      max_pool_forward(nullptr, {.x = from.view(),
                                 .y = to.view(),
                                 .window = each.window,
                                 .bias = device_bias.data(),
                                 .relu = relu,
                                 .chosen = chosen.data()});
      CHECK(worst_error(to.fetch(), expected.y) < tolerance(y_type));
      const std::vector<std::uint8_t> choices = chosen.fetch();
      for (std::size_t i = 0; i < expected.y.size(); ++i) {
        const bool none = relu && expected.y[i] == 0;
        REQUIRE((choices[to.offset(i)] == kNoneChosen) == none);
      }

      const DeviceTensor gradient(y_type, y_layout, each.batch, each.output(), dy);
      const DeviceTensor input_gradient(x_type, x_layout, each.batch, each.input);
      max_pool_backward(nullptr, {gradient.view(), input_gradient.view(), each.window, chosen.data()});
      CHECK(worst_error(input_gradient.fetch(), expected.dx) < tolerance(x_type));
    });
  });
}

TEST_CASE("max pooling works without a bias and without its choices") {
  const Case each = any_case();
  const std::vector<double> x = random_numbers(each.batch * each.input.size(), 4);
  const std::vector<double> none(each.input.channels, 0.0);
  const std::vector<double> dy(each.batch * each.output().size(), 0.0);
  const DeviceTensor from(NumberType::kF32, Layout::kNhwc, each.batch, each.input, x);
  const DeviceTensor to(NumberType::kF32, Layout::kNhwc, each.batch, each.output());
  max_pool_forward(nullptr, {.x = from.view(), .y = to.view(), .window = each.window});
  CHECK(to.fetch() == max_pool(each, x, none, false, dy).y);
}

TEST_CASE("average pooling and its gradient match the plain loops") {
  const Case each = any_case();
  const std::vector<double> x = random_numbers(each.batch * each.input.size(), 5);
  const std::vector<double> dy = random_numbers(each.batch * each.output().size(), 6);
  std::vector<double> y(dy.size()), dx(x.size()), spent = dy;
  const Layer layer = each.layer<AvgPool2d>();
  const reference::Pass pass{.batch = each.batch, .parameters = {}, .dropout_mask = {}};
  reference::forward(layer, pass, x, y);
  reference::backward(layer, pass, {x, y}, {.output = spent, .input = dx});

  for_each_kind([&](NumberType x_type, Layout x_layout) {
    for_each_kind([&](NumberType y_type, Layout y_layout) {
      const DeviceTensor from(x_type, x_layout, each.batch, each.input, x);
      const DeviceTensor to(y_type, y_layout, each.batch, each.output());
      avg_pool_forward(nullptr, from.view(), each.window, to.view());
      CHECK(worst_error(to.fetch(), y) < tolerance(y_type));

      const DeviceTensor gradient(y_type, y_layout, each.batch, each.output(), dy);
      const DeviceTensor input_gradient(x_type, x_layout, each.batch, each.input);
      avg_pool_backward(nullptr, gradient.view(), each.window, input_gradient.view());
      CHECK(worst_error(input_gradient.fetch(), dx) < tolerance(x_type));
    });
  });
}

TEST_CASE("channels are summed over batch and pixels, without pixels that were not chosen") {
  const auto [shape, batch] = GENERATE(table<Shape, std::int64_t>(
      {{{64, 7, 7}, 50}, {{5, 3, 4}, 3}, {{12, 1, 1}, 50}, {{1, 28, 28}, 1}, {{8, 14, 14}, 3}, {{4, 1, 1}, 1}}));
  const bool with_choices = GENERATE(true, false);
  const std::vector<double> t = random_numbers(batch * shape.size(), 7);
  const std::int64_t plane = shape.height * shape.width;
  Random random(8, 0);
  std::vector<std::uint8_t> choices(t.size());
  for (std::uint8_t& choice : choices) {
    choice = random.below(3) == 0 ? kNoneChosen : static_cast<std::uint8_t>(random.below(4));
  }
  std::vector<double> expected(shape.channels, 0.0);
  for (std::size_t i = 0; i < t.size(); ++i) {
    if (!with_choices || choices[i] != kNoneChosen) expected[i / plane % shape.channels] += t[i];
  }

  for_each_kind([&](NumberType type, Layout layout) {
    const DeviceTensor tensor(type, layout, batch, shape, t);
    std::vector<std::uint8_t> placed(choices.size());
    for (std::size_t i = 0; i < choices.size(); ++i) placed[tensor.offset(i)] = choices[i];
    const MarkedArray<std::uint8_t> chosen(placed);
    const MarkedArray<float> sums(expected.size());
    channel_sums(nullptr, tensor.view(), with_choices ? chosen.data() : nullptr, sums.data());
    CHECK(to_doubles(sums.fetch()) == expected);
  });
}

TEST_CASE("channels of a tensor at an odd address are summed, too") {
  constexpr std::int32_t kBatch = 9, kChannels = 8;
  const std::vector<double> t = random_numbers(1 + kBatch * kChannels, 9);
  const MarkedArray<float> numbers(floats(t));
  const TensorView view{numbers.data() + 1, NumberType::kF32, Layout::kNhwc, kBatch, kChannels, 1, 1};
  const MarkedArray<float> sums(kChannels);
  channel_sums(nullptr, view, nullptr, sums.data());
  std::vector<double> expected(kChannels, 0.0);
  for (std::size_t i = 1; i < t.size(); ++i) expected[(i - 1) % kChannels] += t[i];
  CHECK(to_doubles(sums.fetch()) == expected);
}

TEST_CASE("sums of channels have the same bits in any order of threads and blocks") {
  constexpr std::int64_t kBatch = 7;
  const Shape shape{8, 9, 9};
  std::vector<double> t = random_numbers(kBatch * shape.size(), 10);
  for (std::size_t i = 0; i < t.size(); ++i)
    t[i] = std::exp(9 * t[i]);  // of many magnitudes, so that each order rounds differently
  std::vector<std::vector<float>> outcomes;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    cuda_on_host::reset({.seed = seed});
    const DeviceTensor tensor(NumberType::kF32, Layout::kNhwc, kBatch, shape, t);
    const MarkedArray<float> sums(static_cast<std::size_t>(shape.channels));
    channel_sums(nullptr, tensor.view(), nullptr, sums.data());
    outcomes.push_back(sums.fetch());
  }
  CHECK(std::ranges::count(outcomes, outcomes.front()) == std::ssize(outcomes));
}
