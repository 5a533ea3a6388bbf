// Compares the direct convolutions of every instruction set with plain loops in double precision.
#include <array>
#include <limits>

#include <fmt/core.h>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"
#include "tests/support/kernel_sets.h"
#include "tests/support/plain_convolution.h"

using namespace distmnist;
using namespace distmnist::cpu;

namespace {

std::vector<ConvolutionShape> shapes() {
  std::vector<ConvolutionShape> shapes;
  for (const auto& window : {std::array{1, 1}, {3, 3}, {5, 5}, {3, 5}, {7, 7}, {5, 11}}) {
    for (const auto& size : {std::array{2, 2}, {4, 6}, {12, 8}, {28, 28}}) {
      for (const std::int64_t out : {32, 64}) shapes.push_back({size[0], size[1], 1, out, window[0], window[1]});
    }
  }
  return shapes;
}

std::string name_of(const ConvolutionShape& shape) {
  return fmt::format("{}x{} -> {}, window {}x{}", shape.height, shape.width, shape.out, shape.window_height,
                     shape.window_width);
}

// The image in the layout that the kernels expect.
Guarded framed(const PlainConvolution& plain) {
  const ConvolutionShape& shape = plain.shape;
  return plain.framed(shape.height + shape.window_height - 1, shape.width + shape.window_width - 1);
}

GuardedPooled forward(const VectorKernels& kernels, const PlainConvolution& plain) {
  GuardedPooled out(plain.shape);
  kernels.direct_forward({plain.shape, framed(plain).data(), plain.weights.data(), plain.biases.data(), out.pooled()});
  return out;
}

}  // namespace

TEST_CASE("a direct convolution with pooling matches plain loops") {
  for (const ConvolutionShape& shape : shapes()) {
    Random random(1, static_cast<std::uint64_t>(shape.width));
    const PlainConvolution plain(shape, [&] { return 2.0f * random.uniform() - 1.0f; });
    const std::vector<double> pixels = plain.pixels();
    const PlainPooled expected = plain_pooled(plain, pixels);
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << name_of(shape));
      GuardedPooled out = forward(set.kernels, plain);
      CHECK(relative_l2_error(out.values.span(), expected.values) < 1e-6);
      CHECK(count_wrong_choices(plain, pixels, out.choices(), 1e-5) == 0);
      CHECK(out.is_whole());
    }
  }
}

TEST_CASE("among equal pixels a direct convolution chooses the first, and none where relu is zero") {
  for (const ConvolutionShape& shape : shapes()) {
    // Whole numbers are computed without rounding. Most windows contain their largest value twice.
    Random random(2, static_cast<std::uint64_t>(shape.width));
    const PlainConvolution plain(shape, [&] { return static_cast<float>(random.below(3)) - 1.0f; });
    const PlainPooled expected = plain_pooled(plain, plain.pixels());
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << name_of(shape));
      GuardedPooled out = forward(set.kernels, plain);
      CHECK(std::ranges::equal(out.values.span(), expected.values));
      CHECK(std::ranges::equal(out.choices(), expected.choices));
    }
  }
}

TEST_CASE("the gradients of a direct convolution are added to the sums") {
  for (const ConvolutionShape& shape : shapes()) {
    Random random(3, static_cast<std::uint64_t>(shape.width));
    const PlainConvolution plain(shape, [&] { return 2.0f * random.uniform() - 1.0f; });
    GuardedPooled given(shape);
    given.fill(random);
    PlainGradients expected = plain.gradients(given.values.span(), given.choices());
    for (double& sum : expected.weights) sum += 0.5;
    for (double& sum : expected.biases) sum -= 0.25;
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << name_of(shape));
      Guarded weight_sums(std::ssize(plain.weights)), bias_sums(shape.out), scratch(2 * shape.width * shape.out);
      weight_sums.fill([] { return 0.5f; });
      bias_sums.fill([] { return -0.25f; });
      const Guarded image = framed(plain);
      set.kernels.direct_backward(
          {shape, image.data(), given.gradient(), weight_sums.data(), bias_sums.data(), scratch.data()});
      CHECK(relative_l2_error(weight_sums.span(), expected.weights) < 1e-6);
      CHECK(relative_l2_error(bias_sums.span(), expected.biases) < 1e-6);
      CHECK(weight_sums.is_whole());
      CHECK(bias_sums.is_whole());
      CHECK(scratch.is_whole());
    }
  }
}

TEST_CASE("NaN passes through relu and pool") {
  for (const KernelSet& set : kernel_sets()) {
    INFO(set.name);
    PlainConvolution plain({4, 4, 1, 32, 3, 3}, [] { return -1.0f; });
    plain.biases[5] = std::numeric_limits<float>::quiet_NaN();
    GuardedPooled out = forward(set.kernels, plain);
    for (std::size_t i = 0; i < out.values.span().size(); ++i) CHECK(std::isnan(out.values.span()[i]) == (i % 32 == 5));
  }
}
