// Compares the convolutions that use AMX tiles bit for bit. Images, weights and gradients are small integers plus a
// small part, which rounding removes or the second plane holds, so all sums are exact in any order.
#include <algorithm>
#include <cmath>

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"
#include "lib/backend/cpu/builtin/rounding.h"
#include "lib/backend/cpu/float_buffer.h"
#include "lib/base/random.h"
#include "tests/support/amx.h"
#include "tests/support/catch.h"

using namespace distmnist;
using namespace distmnist::cpu;

namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;
using Halves = NumberBuffer<Bf16>;

std::size_t size_of(std::int64_t size) {
  return static_cast<std::size_t>(size);
}

// Integers in [-3, 3] plus or minus a part that rounding removes.
Floats near_integers(std::int64_t size, std::uint64_t seed) {
  Random random(seed, 7);
  Floats floats(size_of(size));
  std::ranges::generate(floats, [&] {
    const float integer = static_cast<float>(random.below(7)) - 3;
    return integer == 0 ? 0 : integer + (static_cast<float>(random.below(3)) - 1) * 0x1p-10f;
  });
  return floats;
}

// A layer and one image, with results from plain loops over the rounded numbers.
struct Problem {
  Problem(const ConvolutionShape& shape, int factor_planes, std::uint64_t seed) : s(shape), planes(factor_planes) {
    image = near_integers(s.height * s.width * s.in, seed);
    weights = near_integers(taps() * s.in * s.out, 2);
    biases = near_integers(s.out, 3);
    gradient = near_integers(s.pooled_size(), seed + 4);
    forward();
    backward();
  }
  std::int64_t taps() const { return s.window_height * s.window_width; }

  ConvolutionShape s;
  int planes;
  Floats image, weights, biases, gradient;
  Floats pooled, image_gradient, weight_gradient, bias_gradient;
  Bytes choices;

 private:
  float number(float x) const { return planes == kRounded ? rounded_to_bf16(x) : x; }
  // Without the product of what rounding removes.
  float product(float x, float y) const {
    const float first = rounded_to_bf16(x), second = rounded_to_bf16(y);
    return planes == kRounded ? first * second : x * second + first * (y - second);
  }
  // Calls work(pixel of the image, tap) for all taps of output pixel (y, x) that are inside the image.
  template <typename Work>
  void for_taps(std::int64_t y, std::int64_t x, const Work& work) const {
    for (std::int64_t tap = 0; tap < taps(); ++tap) {
      const std::int64_t row = y + tap / s.window_width - s.window_height / 2;
      const std::int64_t column = x + tap % s.window_width - s.window_width / 2;
      if (row >= 0 && row < s.height && column >= 0 && column < s.width) work(row * s.width + column, tap);
    }
  }

  void forward() {
    Floats sums(size_of(s.height * s.width * s.out));
    for (std::int64_t pixel = 0; pixel < s.height * s.width; ++pixel) {
      for_taps(pixel / s.width, pixel % s.width, [&](std::int64_t from, std::int64_t tap) {
        for (std::int64_t ci = 0; ci < s.in; ++ci) {
          const float factor = image[size_of(from * s.in + ci)];
          for (std::int64_t co = 0; co < s.out; ++co) {
            sums[size_of(pixel * s.out + co)] += product(factor, weights[size_of((tap * s.in + ci) * s.out + co)]);
          }
        }
      });
    }
    for (std::int64_t i = 0; i < s.pooled_size(); ++i) {
      const std::int64_t co = i % s.out, at = i / s.out;
      float best = -1e30f;
      std::uint8_t chosen = 0;
      for (std::uint8_t choice = 0; choice < 4; ++choice) {
        const std::int64_t pixel = pixel_of(at, choice);
        if (sums[size_of(pixel * s.out + co)] > best) {
          best = sums[size_of(pixel * s.out + co)];
          chosen = choice;
        }
      }
      best += biases[size_of(co)];
      pooled.push_back(best <= 0 ? 0 : number(best));
      choices.push_back(best <= 0 ? kNoneChosen : chosen);
    }
  }

  void backward() {
    image_gradient.resize(image.size());
    weight_gradient.resize(weights.size());
    bias_gradient.resize(biases.size());
    for (std::int64_t i = 0; i < s.pooled_size(); ++i) {
      const std::int64_t co = i % s.out;
      if (choices[size_of(i)] == kNoneChosen) continue;
      const std::int64_t pixel = pixel_of(i / s.out, choices[size_of(i)]);
      const float dy = gradient[size_of(i)];
      bias_gradient[size_of(co)] += number(dy);
      for_taps(pixel / s.width, pixel % s.width, [&](std::int64_t from, std::int64_t tap) {
        for (std::int64_t ci = 0; ci < s.in; ++ci) {
          const std::size_t weight = size_of((tap * s.in + ci) * s.out + co), input = size_of(from * s.in + ci);
          weight_gradient[weight] += product(dy, image[input]);
          image_gradient[input] += product(dy, weights[weight]);
        }
      });
    }
  }

  std::int64_t pixel_of(std::int64_t pooled_pixel, std::int64_t choice) const {
    const std::int64_t y = pooled_pixel / (s.width / 2) * 2 + choice / 2, x = pooled_pixel % (s.width / 2) * 2;
    return y * s.width + x + choice % 2;
  }
};

// Packs rows of floats as a right factor.
Halves right_factor(const AmxKernels& kernels, const Floats& rows, std::int64_t columns, int planes) {
  const std::int64_t count = std::ssize(rows) / columns;
  Halves factor(size_of(packed_size(count, columns, planes)));
  kernels.pack({.factor = Factor::kRight,
                .rows = count,
                .columns = columns,
                .from = rows.data(),
                .from_row = columns,
                .to = factor.data(),
                .strip_size = in_blocks(count) * planes,
                .planes = planes});
  return factor;
}

// [taps, in, out] to [taps in reverse order, out, in].
Floats reversed(const Problem& p) {
  Floats result;
  for (std::int64_t tap = p.taps() - 1; tap >= 0; --tap) {
    for (std::int64_t co = 0; co < p.s.out; ++co) {
      for (std::int64_t ci = 0; ci < p.s.in; ++ci) {
        result.push_back(p.weights[size_of((tap * p.s.in + ci) * p.s.out + co)]);
      }
    }
  }
  return result;
}

// [in / 16][out / 16][taps][16 out][16 in] to [taps, in, out].
Floats unblocked(const Floats& sums, const ConvolutionShape& s) {
  const std::int64_t taps = s.window_height * s.window_width;
  Floats result(sums.size());
  for (std::int64_t i = 0; i < std::ssize(sums); ++i) {
    const std::int64_t tap = i / 256 % taps, tile = i / 256 / taps, ci = tile / (s.out / 16) * 16 + i % 16;
    const std::int64_t co = tile % (s.out / 16) * 16 + i / 16 % 16;
    result[size_of((tap * s.in + ci) * s.out + co)] = sums[size_of(i)];
  }
  return result;
}

// [window_height, window_width, out] to [window_width, stack, out].
Floats stacked(const Problem& p) {
  const TileDirect tiles{p.s};
  Floats result(size_of(kTileDepth * p.s.out));
  for (std::int64_t y = 0; y < p.s.window_height; ++y) {
    for (std::int64_t x = 0; x < p.s.window_width; ++x) {
      std::copy_n(p.weights.data() + (y * p.s.window_width + x) * p.s.out, p.s.out,
                  result.data() + (x * tiles.stack() + y) * p.s.out);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("a convolution of many channels uses tiles correctly") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  const TileConvolution shape{GENERATE(ConvolutionShape{14, 14, 32, 64}, ConvolutionShape{2, 28, 64, 32},
                                       ConvolutionShape{4, 2, 32, 32}, ConvolutionShape{6, 18, 32, 96, 3, 7},
                                       ConvolutionShape{10, 34, 32, 32, 1, 1}, ConvolutionShape{8, 6, 32, 32, 7, 3}),
                              planes};
  Halves scratch(size_of(shape.forward_scratch_size())), backward_scratch(size_of(shape.backward_scratch_size()));
  // A second image must not be affected by the first.
  for (const std::uint64_t seed : {2, 1}) {
    const Problem p(shape.convolution, planes, seed);
    const Halves weights = right_factor(kernels, p.weights, p.s.out, planes);
    Floats pooled(p.pooled.size(), -1.0f);
    Bytes choices(p.choices.size(), 77);
    kernels.convolution_forward(
        {shape, p.image.data(), weights.data(), p.biases.data(), {pooled.data(), choices.data()}, scratch.data()});
    CHECK(pooled == p.pooled);
    CHECK(choices == p.choices);

    const Halves reversed_weights = right_factor(kernels, reversed(p), p.s.in, planes);
    Floats weight_sums(p.weights.size()), bias_sums(p.biases.size()), image_gradient(p.image.size(), -1.0f);
    TileConvolutionBackward backward{.shape = shape,
                                     .image = p.image.data(),
                                     .gradient = {p.gradient.data(), choices.data()},
                                     .weights = reversed_weights.data(),
                                     .weight_sums = weight_sums.data(),
                                     .bias_sums = bias_sums.data(),
                                     .image_gradient = image_gradient.data(),
                                     .scratch = backward_scratch.data()};
    kernels.convolution_backward(backward);
    CHECK(unblocked(weight_sums, p.s) == p.weight_gradient);
    CHECK(bias_sums == p.bias_gradient);
    CHECK(image_gradient == p.image_gradient);

    // Runs again without the image's gradient: the weight gradients are added to the sums.
    backward.image_gradient = nullptr;
    kernels.convolution_backward(backward);
    const auto is_twice = [](float sum, float once) { return sum == 2 * once; };
    CHECK(std::ranges::equal(unblocked(weight_sums, p.s), p.weight_gradient, is_twice));
    CHECK(std::ranges::equal(bias_sums, p.bias_gradient, is_twice));
  }
}

TEST_CASE("a convolution of one channel uses tiles correctly") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  const TileDirect shape{
      GENERATE(ConvolutionShape{28, 28, 1, 32}, ConvolutionShape{14, 14, 1, 64}, ConvolutionShape{2, 34, 1, 32, 3, 3},
               ConvolutionShape{4, 66, 1, 32, 1, 7}, ConvolutionShape{2, 2, 1, 32, 5, 5}),
      planes};
  REQUIRE(shape.fits());
  Halves scratch(size_of(shape.scratch_size()));
  for (const std::uint64_t seed : {2, 1}) {
    const Problem p(shape.convolution, planes, seed);
    const Halves weights = right_factor(kernels, stacked(p), p.s.out, planes);
    Floats pooled(p.pooled.size(), -1.0f);
    Bytes choices(p.choices.size(), 77);
    kernels.direct_forward(
        {shape, p.image.data(), weights.data(), p.biases.data(), {pooled.data(), choices.data()}, scratch.data()});
    CHECK(pooled == p.pooled);
    CHECK(choices == p.choices);

    Floats weight_sums(size_of(kBlockSide * p.s.out)), bias_sums(p.biases.size());
    for (const float times : {1.0f, 2.0f}) {
      kernels.direct_backward({shape,
                               p.image.data(),
                               {p.gradient.data(), choices.data()},
                               weight_sums.data(),
                               bias_sums.data(),
                               scratch.data()});
      const auto is_multiple = [&](float sum, float once) { return sum == times * once; };
      CHECK(std::ranges::equal(std::span(weight_sums).first(p.weights.size()), p.weight_gradient, is_multiple));
      CHECK(std::ranges::equal(bias_sums, p.bias_gradient, is_multiple));
    }
  }
}

TEST_CASE("windows of one channel that do not fit into a tile's depth are detected") {
  CHECK(TileDirect{{.height = 28, .width = 28, .in = 1, .out = 32}}.fits());
  CHECK_FALSE(
      TileDirect{{.height = 28, .width = 28, .in = 1, .out = 32, .window_height = 7, .window_width = 5}}.fits());
  CHECK_FALSE(
      TileDirect{{.height = 28, .width = 28, .in = 1, .out = 32, .window_height = 5, .window_width = 7}}.fits());
}
