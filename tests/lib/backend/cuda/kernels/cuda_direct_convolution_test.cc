#include "lib/backend/cuda/kernels/direct_convolution.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/backend/cuda/kernels/pooling.h"
#include "lib/backend/reference/layers.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/device_tensor.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

// A convolution and its pooling, within a larger block of parameters.
struct Layers {
  Conv2d convolution;
  MaxPool2d pool;

  std::int64_t parameters() const { return convolution.weights.end() + 5; }
};

struct Sizes {
  Shape input;
  std::int64_t out;
  Window filter;
  std::int64_t batch;
};

Layers make_layers(const Sizes& sizes, Activation activation) {
  const Window& filter = sizes.filter;
  const Shape convolved{sizes.out, sizes.input.height + filter.pad_top + filter.pad_bottom - filter.height + 1,
                        sizes.input.width + filter.pad_left + filter.pad_right - filter.width + 1};
  const Range biases{.offset = 3, .size = sizes.out};
  const Range weights{.offset = biases.end() + 2,
                      .size = sizes.out * sizes.input.channels * filter.height * filter.width};
  return {{"conv", sizes.input, convolved, filter, activation, weights, biases},
          {"pool", convolved, {sizes.out, convolved.height / 2, convolved.width / 2}, {}}};
}

constexpr Window kFive{5, 5, 1, 2, 2, 2, 2}, kOne{1, 1, 1, 0, 0, 0, 0};

struct Numbers {
  std::vector<double> x, dy;
  std::vector<float> parameters;
};

// The parameters are multiples of 1 / 16, so that float sums are exact and every backend chooses the same pixel.
Numbers make_numbers(const Sizes& sizes, const Layers& layers) {
  const std::vector<double> parameters = random_numbers(layers.parameters(), 3);
  Numbers numbers{random_numbers(sizes.batch * sizes.input.size(), 1),
                  random_numbers(sizes.batch * layers.pool.output.size(), 2),
                  {}};
  for (const double number : parameters) numbers.parameters.push_back(static_cast<float>(std::floor(number * 16) / 16));
  return numbers;
}

// The results of plain loops.
struct Expected {
  std::vector<double> y;
  std::vector<float> gradients;  // -1 outside the layer's ranges
};
Expected compute(const Sizes& sizes, const Layers& layers, const Numbers& numbers) {
  const reference::Pass pass{.batch = sizes.batch, .parameters = numbers.parameters, .dropout_mask = {}};
  std::vector<double> convolved(sizes.batch * layers.pool.input.size()), convolved_gradient(convolved.size());
  Expected expected{std::vector<double>(numbers.dy.size()), std::vector<float>(numbers.parameters.size(), -1.0f)};
  reference::forward(layers.convolution, pass, numbers.x, convolved);
  reference::forward(layers.pool, pass, convolved, expected.y);
  std::vector<double> dy = numbers.dy;
  reference::backward(layers.pool, pass, {convolved, expected.y}, {.output = dy, .input = convolved_gradient});
  reference::backward(layers.convolution, pass, {numbers.x, convolved},
                      {.output = convolved_gradient, .parameters = expected.gradients});
  return expected;
}

// Runs the backward pass on the device into gradients that are -1 before it.
std::vector<float> backward(const Layers& layers, const DeviceTensor& x, const DeviceTensor& dy,
                            const MarkedArray<std::uint8_t>& chosen) {
  const std::int64_t bytes = direct_convolution_workspace_bytes(layers.convolution, x.view().batch);
  const MarkedArray<float> workspace(static_cast<std::size_t>(bytes) / sizeof(float));
  const MarkedArray<float> gradients(std::vector<float>(static_cast<std::size_t>(layers.parameters()), -1.0f));
  direct_convolution_backward(nullptr, layers.convolution,
                              {.x = x.view(),
                               .dy = dy.view(),
                               .chosen = chosen.data(),
                               .workspace = workspace.data(),
                               .gradients = gradients.data()});
  return gradients.fetch();
}

struct Kind {
  NumberType type;
  Layout layout;
};
constexpr Kind kPlain{NumberType::kF32, Layout::kNchw}, kPlainLast{NumberType::kF32, Layout::kNhwc};
constexpr Kind kHalf{NumberType::kBf16, Layout::kNchw}, kHalfLast{NumberType::kBf16, Layout::kNhwc};

// Compares both passes, with x and y (and dy) of these kinds, with the plain loops.
void check_layers(const Sizes& sizes, Activation activation, const std::vector<std::pair<Kind, Kind>>& kinds) {
  const Layers layers = make_layers(sizes, activation);
  REQUIRE(has_direct_convolution(layers.convolution, layers.pool));
  const Numbers numbers = make_numbers(sizes, layers);
  const Expected expected = compute(sizes, layers, numbers);
  const MarkedArray<float> parameters(numbers.parameters);
  for (const auto& [x_kind, y_kind] : kinds) {
    const DeviceTensor x(x_kind.type, x_kind.layout, sizes.batch, sizes.input, numbers.x);
    const DeviceTensor y(y_kind.type, y_kind.layout, sizes.batch, layers.pool.output);
    const MarkedArray<std::uint8_t> chosen(expected.y.size());
    direct_convolution_forward(nullptr, layers.convolution, {x.view(), y.view(), parameters.data(), chosen.data()});
    CHECK(worst_error(y.fetch(), expected.y) < tolerance(y_kind.type));

    const DeviceTensor dy(y_kind.type, y_kind.layout, sizes.batch, layers.pool.output, numbers.dy);
    const std::vector<float> gradients = backward(layers, x, dy, chosen);
    CHECK(worst_error(to_doubles(gradients), to_doubles(expected.gradients)) < 1e-5);
  }
}

}  // namespace

TEST_CASE("output, choices and gradients match the plain loops in all types and layouts") {
  // Odd sizes and uneven padding; channels that do not fill a group, and two groups.
  const Sizes sizes = GENERATE(Sizes{{3, 7, 9}, 10, {3, 3, 1, 0, 1, 1, 0}, 3}, Sizes{{2, 3, 3}, 16, kOne, 1},
                               Sizes{{1, 2, 2}, 1, kOne, 3});
  const Activation activation = GENERATE(Activation::kRelu, Activation::kNone);
  std::vector<std::pair<Kind, Kind>> kinds;
  for (const Kind x : {kPlain, kPlainLast, kHalf, kHalfLast}) {
    for (const Kind y : {kPlain, kPlainLast, kHalf, kHalfLast}) kinds.emplace_back(x, y);
  }
  check_layers(sizes, activation, kinds);
}

TEST_CASE("large images are computed in tiles") {
  // Tiles in both directions, across only and down only, and the largest image that a tile may need.
  const Sizes sizes =
      GENERATE(Sizes{{4, 38, 71}, 8, {5, 4, 1, 0, 0, 0, 0}, 1}, Sizes{{1, 6, 70}, 9, {2, 5, 1, 1, 0, 3, 4}, 2},
               Sizes{{1, 70, 6}, 3, {5, 2, 1, 3, 4, 1, 0}, 2}, Sizes{{4, 32, 32}, 8, kFive, 1});
  check_layers(sizes, Activation::kRelu, {{kPlain, kHalfLast}});
}

TEST_CASE("MNIST's first layer matches the plain loops") {
  check_layers({{1, 28, 28}, 32, kFive, 3}, Activation::kRelu, {{kHalfLast, kHalfLast}, {kPlain, kPlain}});
  check_layers({{1, 28, 28}, 8, kFive, 50}, Activation::kRelu, {{kHalf, kHalfLast}});
}

TEST_CASE("a batch with more images than partial sums has all of them in its gradient") {
  const Sizes sizes{{1, 4, 4}, 4, {3, 3, 1, 0, 0, 0, 0}, 150};
  const Layers layers = make_layers(sizes, Activation::kRelu);
  const Numbers numbers = make_numbers(sizes, layers);
  const MarkedArray<float> parameters(numbers.parameters);
  const DeviceTensor x(NumberType::kF32, Layout::kNchw, sizes.batch, sizes.input, numbers.x);
  const DeviceTensor y(NumberType::kF32, Layout::kNhwc, sizes.batch, layers.pool.output);
  const DeviceTensor dy(NumberType::kF32, Layout::kNhwc, sizes.batch, layers.pool.output, numbers.dy);
  const MarkedArray<std::uint8_t> chosen(numbers.dy.size());
  direct_convolution_forward(nullptr, layers.convolution, {x.view(), y.view(), parameters.data(), chosen.data()});
  const Expected expected = compute(sizes, layers, numbers);
  CHECK(worst_error(y.fetch(), expected.y) < 1e-6);
  CHECK(worst_error(to_doubles(backward(layers, x, dy, chosen)), to_doubles(expected.gradients)) < 1e-5);
}

TEST_CASE("a batch with more images than blocks is computed completely") {
  const Sizes sizes{{1, 6, 6}, 4, {3, 3, 1, 0, 0, 0, 0}, 1100};
  const Layers layers = make_layers(sizes, Activation::kRelu);
  const Numbers numbers = make_numbers(sizes, layers);
  const MarkedArray<float> parameters(numbers.parameters);
  const DeviceTensor x(NumberType::kF32, Layout::kNchw, sizes.batch, sizes.input, numbers.x);
  const DeviceTensor y(NumberType::kF32, Layout::kNhwc, sizes.batch, layers.pool.output);
  direct_convolution_forward(nullptr, layers.convolution, {x.view(), y.view(), parameters.data()});
  CHECK(worst_error(y.fetch(), compute(sizes, layers, numbers).y) < 1e-6);
}

TEST_CASE("a prediction needs no choices") {
  const Sizes sizes{{1, 28, 28}, 32, kFive, 3};
  const Layers layers = make_layers(sizes, Activation::kRelu);
  const Numbers numbers = make_numbers(sizes, layers);
  const MarkedArray<float> parameters(numbers.parameters);
  for_each_kind([&](NumberType type, Layout layout) {
    const DeviceTensor x(type, layout, sizes.batch, sizes.input, numbers.x);
    const DeviceTensor y(type, layout, sizes.batch, layers.pool.output);
    direct_convolution_forward(nullptr, layers.convolution, {x.view(), y.view(), parameters.data()});
    CHECK(worst_error(y.fetch(), compute(sizes, layers, numbers).y) < tolerance(type));
  });
}

TEST_CASE("gradients have the same bits in any order of threads and blocks") {
  const Sizes sizes{{1, 14, 14}, 8, kFive, 3};
  const Layers layers = make_layers(sizes, Activation::kNone);
  Numbers numbers = make_numbers(sizes, layers);
  for (double& number : numbers.dy)
    number = std::exp(9 * number);  // of many magnitudes: the order changes the rounding
  std::vector<std::vector<float>> outcomes;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    cuda_on_host::reset({.seed = seed});
    const DeviceTensor x(NumberType::kF32, Layout::kNchw, sizes.batch, sizes.input, numbers.x);
    const DeviceTensor dy(NumberType::kF32, Layout::kNhwc, sizes.batch, layers.pool.output, numbers.dy);
    const MarkedArray<std::uint8_t> chosen(std::vector<std::uint8_t>(numbers.dy.size(), 2));
    outcomes.push_back(backward(layers, x, dy, chosen));
  }
  CHECK(std::ranges::count(outcomes, outcomes.front()) == std::ssize(outcomes));
}

TEST_CASE("layers that the kernel cannot compute are refused") {
  const Sizes sizes{{4, 28, 28}, 32, kFive, 1};
  const Layers good = make_layers(sizes, Activation::kRelu);
  CHECK(has_direct_convolution(good.convolution, good.pool));

  Layers bad = good;
  bad.convolution.input.channels = 5;
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
  bad = good;
  bad.convolution.window.stride = 2;
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
  bad = good;
  bad.convolution.window.width = 6;
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
  bad = good;
  bad.convolution.window.height = 6;
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
  bad = good;
  bad.pool.window.stride = 1;
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
  bad = good;
  bad.pool.window.height = 3;
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
  bad = good;
  bad.pool.input.height = 14;  // not the output size of the convolution
  CHECK_FALSE(has_direct_convolution(bad.convolution, bad.pool));
}
