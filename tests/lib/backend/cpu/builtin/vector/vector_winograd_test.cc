// Compares the Winograd convolutions of every instruction set with plain loops in double precision.
#include <array>

#include <fmt/core.h>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"
#include "tests/support/kernel_sets.h"
#include "tests/support/plain_convolution.h"

using namespace distmnist;
using namespace distmnist::cpu;

namespace {

// The algorithm rounds more than plain float sums: up to 4e-6, measured.
constexpr double kTolerance = 1e-5;

std::vector<WinogradShape> shapes() {
  std::vector<WinogradShape> shapes;
  for (const auto& size : {std::array{2, 2}, {4, 4}, {6, 10}, {8, 6}, {14, 14}}) {
    for (const std::int64_t in : {32, 64}) {
      for (const std::int64_t out : {32, 64}) shapes.push_back({{size[0], size[1], in, out}});
    }
  }
  return shapes;
}

std::string name_of(const WinogradShape& shape) {
  const ConvolutionShape& of = shape.convolution;
  return fmt::format("{}x{}, {} -> {}", of.height, of.width, of.in, of.out);
}

PlainConvolution any_convolution(const WinogradShape& shape) {
  Random random(1, static_cast<std::uint64_t>(shape.convolution.width));
  return {shape.convolution, [&] { return 2.0f * random.uniform() - 1.0f; }};
}

Guarded framed(const PlainConvolution& plain) {
  const WinogradShape shape{plain.shape};
  return plain.framed(shape.padded_height(), shape.padded_width());
}

struct Transforms {
  explicit Transforms(const WinogradShape& shape) : in_out(shape.weights_size()), out_in(shape.weights_size()) {
    for (Guarded* each : {&in_out, &out_in}) each->fill([] { return 0.0f; });  // nothing is written between the points
  }
  Guarded in_out, out_in;
};

Transforms transforms_of(const VectorKernels& kernels, const PlainConvolution& plain) {
  Transforms transforms(WinogradShape{plain.shape});
  kernels.winograd_weights({plain.shape.in, plain.shape.out, 0, plain.shape.in, plain.weights.data(),
                            transforms.in_out.data(), transforms.out_in.data()});
  return transforms;
}

GuardedPooled forward(const VectorKernels& kernels, const PlainConvolution& plain) {
  const WinogradShape shape{plain.shape};
  GuardedPooled out(plain.shape);
  Guarded scratch(shape.scratch_size(1));
  const Guarded image = framed(plain);
  kernels.winograd_forward({shape, 1, image.data(), transforms_of(kernels, plain).in_out.data(), plain.biases.data(),
                            out.pooled(), scratch.data()});
  CHECK(scratch.is_whole());
  return out;
}

// The sums that backward passes add to, and the image gradient of the last pass.
struct Sums {
  explicit Sums(const WinogradShape& shape)
      : weights(shape.weights_size()), biases(shape.convolution.out), image(shape.padded_size()) {
    weights.fill([] { return 0.0f; });
    biases.fill([] { return 0.0f; });
  }
  Guarded weights, biases, image;
};

void backward(const VectorKernels& kernels, const PlainConvolution& plain, const GuardedPooled& given,
              bool wants_image_gradient, Sums& sums) {
  const WinogradShape shape{plain.shape};
  Guarded scratch(shape.scratch_size(0));
  const Guarded image = framed(plain);
  const Transforms transforms = transforms_of(kernels, plain);
  kernels.winograd_backward({shape, 1, image.data(), given.gradient(),
                             wants_image_gradient ? transforms.out_in.data() : nullptr, sums.weights.data(),
                             sums.biases.data(), wants_image_gradient ? sums.image.data() : nullptr, scratch.data()});
  CHECK(scratch.is_whole());
}

Guarded weight_gradient(const VectorKernels& kernels, const PlainConvolution& plain, const Sums& sums) {
  Guarded gradient(std::ssize(plain.weights));
  kernels.winograd_weight_gradient(
      {plain.shape.in, plain.shape.out, 0, plain.shape.in, sums.weights.data(), gradient.data()});
  return gradient;
}

}  // namespace

TEST_CASE("a Winograd convolution with pooling matches plain loops") {
  for (const WinogradShape& shape : shapes()) {
    const PlainConvolution plain = any_convolution(shape);
    const std::vector<double> pixels = plain.pixels();
    const PlainPooled expected = plain_pooled(plain, pixels);
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << name_of(shape));
      GuardedPooled out = forward(set.kernels, plain);
      CHECK(relative_l2_error(out.values.span(), expected.values) < kTolerance);
      CHECK(count_wrong_choices(plain, pixels, out.choices(), 1e-3) == 0);
      CHECK(out.is_whole());
    }
  }
}

TEST_CASE("among equal pixels a Winograd convolution chooses the first, and none where relu is zero") {
  const WinogradShape shape{{6, 10, 32, 32}};
  PlainConvolution plain = any_convolution(shape);
  std::ranges::fill(plain.weights, 0.0f);
  for (std::size_t channel = 0; channel < 32; ++channel) plain.biases[channel] = static_cast<float>(channel % 3) - 1.0f;
  for (const KernelSet& set : kernel_sets()) {
    INFO(set.name);
    GuardedPooled out = forward(set.kernels, plain);
    for (std::size_t i = 0; i < out.choices().size(); ++i) {
      const bool passes = i % 32 % 3 == 2;
      CHECK(out.values.span()[i] == (passes ? 1.0f : 0.0f));
      CHECK(int{out.choices()[i]} == (passes ? 0 : int{kNoneChosen}));
    }
  }
}

TEST_CASE("the gradients of a Winograd convolution match plain loops, summed over images") {
  for (const WinogradShape& shape : shapes()) {
    const PlainConvolution plain = any_convolution(shape);
    PlainConvolution other = plain;
    std::ranges::reverse(other.image);
    Random random(2, 1);
    GuardedPooled given(shape.convolution), given_other(shape.convolution);
    given.fill(random);
    given_other.fill(random);
    const PlainGradients first = plain.gradients(given.values.span(), given.choices());
    PlainGradients both = other.gradients(given_other.values.span(), given_other.choices());
    for (std::size_t i = 0; i < both.weights.size(); ++i) both.weights[i] += first.weights[i];
    for (std::size_t i = 0; i < both.biases.size(); ++i) both.biases[i] += first.biases[i];
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << name_of(shape));
      Sums sums(shape);
      backward(set.kernels, plain, given, true, sums);
      CHECK(relative_l2_error(plain.unframed(sums.image, shape.padded_width()), first.image) < kTolerance);
      backward(set.kernels, other, given_other, true, sums);
      CHECK(relative_l2_error(other.unframed(sums.image, shape.padded_width()), both.image) < kTolerance);
      const Guarded gradient = weight_gradient(set.kernels, plain, sums);
      CHECK(relative_l2_error(gradient.span(), both.weights) < kTolerance);
      CHECK(relative_l2_error(sums.biases.span(), both.biases) < 1e-6);
      CHECK((sums.weights.is_whole() && sums.biases.is_whole() && sums.image.is_whole() && gradient.is_whole()));
    }
  }
}

// Numbers of images that fill whole groups and that do not.
TEST_CASE("several images at once give the same bits as each image alone") {
  const WinogradShape shape{{14, 10, 32, 64}};
  const std::int64_t pooled_size = shape.convolution.pooled_size();
  for (const std::int64_t images : {2, 3, 5}) {
    std::vector<PlainConvolution> plain;
    Guarded together(images * shape.padded_size()), gradients(images * pooled_size);
    std::vector<GuardedPooled> given;
    std::vector<std::uint8_t> choices;
    Random random(5, 1);
    for (std::int64_t n = 0; n < images; ++n) {
      plain.push_back(n == 0 ? any_convolution(shape) : plain[0]);
      if (n > 0) std::ranges::generate(plain.back().image, [&] { return random.uniform(); });
      std::ranges::copy(framed(plain.back()).span(), together.data() + n * shape.padded_size());
      given.emplace_back(shape.convolution).fill(random);
      std::ranges::copy(given.back().values.span(), gradients.data() + n * pooled_size);
      choices.insert(choices.end(), given.back().choices().begin(), given.back().choices().end());
    }
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << images << " images");
      const Transforms transforms = transforms_of(set.kernels, plain[0]);
      Guarded scratch(shape.scratch_size(images)), values(images * pooled_size);
      std::vector<std::uint8_t> chosen(choices.size());
      set.kernels.winograd_forward({shape,
                                    images,
                                    together.data(),
                                    transforms.in_out.data(),
                                    plain[0].biases.data(),
                                    {values.data(), chosen.data()},
                                    scratch.data()});
      Sums sums(shape), alone(shape);
      Guarded image_gradients(images * shape.padded_size());
      set.kernels.winograd_backward({shape,
                                     images,
                                     together.data(),
                                     {gradients.data(), choices.data()},
                                     transforms.out_in.data(),
                                     sums.weights.data(),
                                     sums.biases.data(),
                                     image_gradients.data(),
                                     scratch.data()});
      for (std::int64_t n = 0; n < images; ++n) {
        GuardedPooled pooled = forward(set.kernels, plain[static_cast<std::size_t>(n)]);
        CHECK(std::ranges::equal(pooled.values.span(), values.span().subspan(static_cast<std::size_t>(n * pooled_size),
                                                                             static_cast<std::size_t>(pooled_size))));
        CHECK(std::ranges::equal(pooled.choices(), std::span(chosen).subspan(static_cast<std::size_t>(n * pooled_size),
                                                                             static_cast<std::size_t>(pooled_size))));
        backward(set.kernels, plain[static_cast<std::size_t>(n)], given[static_cast<std::size_t>(n)], true, alone);
        CHECK(std::ranges::equal(alone.image.span(),
                                 image_gradients.span().subspan(static_cast<std::size_t>(n * shape.padded_size()),
                                                                static_cast<std::size_t>(shape.padded_size()))));
      }
      CHECK(std::ranges::equal(alone.weights.span(), sums.weights.span()));
      CHECK(std::ranges::equal(alone.biases.span(), sums.biases.span()));
      CHECK((scratch.is_whole() && values.is_whole() && image_gradients.is_whole() && sums.weights.is_whole()));
    }
  }
}

TEST_CASE("the gradients of the weights do not change if the image gradient is not requested") {
  for (const WinogradShape& shape : shapes()) {
    const PlainConvolution plain = any_convolution(shape);
    Random random(4, 1);
    GuardedPooled given(shape.convolution);
    given.fill(random);
    for (const KernelSet& set : kernel_sets()) {
      INFO(set.name << ", " << name_of(shape));
      Sums with(shape), without(shape);
      backward(set.kernels, plain, given, true, with);
      backward(set.kernels, plain, given, false, without);
      CHECK(std::ranges::equal(with.weights.span(), without.weights.span()));
      CHECK(std::ranges::equal(with.biases.span(), without.biases.span()));
    }
  }
}

TEST_CASE("weights transformed in pieces, in either layout, are the same numbers") {
  for (const KernelSet& set : kernel_sets()) {
    for (const auto& [in, out] : {std::array<std::int64_t, 2>{32, 64}, {64, 32}, {96, 32}}) {
      INFO(set.name << ", " << in << " -> " << out);
      const WinogradShape shape{{4, 4, in, out}};
      const PlainConvolution plain = any_convolution(shape);
      const Transforms whole = transforms_of(set.kernels, plain);
      Transforms pieces(shape), one_order(shape);
      for (std::int64_t begin = 0; begin < in; begin += kChannelShare) {
        set.kernels.winograd_weights(
            {in, out, begin, begin + kChannelShare, plain.weights.data(), pieces.in_out.data(), pieces.out_in.data()});
        set.kernels.winograd_weights(
            {in, out, begin, begin + kChannelShare, plain.weights.data(), one_order.in_out.data(), nullptr});
      }
      CHECK(std::ranges::equal(pieces.in_out.span(), whole.in_out.span()));
      CHECK(std::ranges::equal(pieces.out_in.span(), whole.out_in.span()));
      CHECK(std::ranges::equal(one_order.in_out.span(), whole.in_out.span()));
      CHECK((whole.in_out.is_whole() && whole.out_in.is_whole()));
      std::int64_t differ = 0;
      for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
        for (std::int64_t i = 0; i < in * out; ++i) {
          const std::int64_t at = point * winograd_weight_stride(in, out);
          differ += whole.in_out.data()[at + i] == whole.out_in.data()[at + i % out * in + i / out] ? 0 : 1;
        }
      }
      CHECK(differ == 0);
    }
  }
}
