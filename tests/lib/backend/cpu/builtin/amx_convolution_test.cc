// Compares the convolutions that use AMX tiles bit for bit. Images, weights and gradients are small integers plus a
// small part, which rounding removes or the second plane holds, so all sums are exact in any order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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

// Numbers of a normal distribution, as in a real layer.
Floats normal(std::int64_t size, std::uint64_t seed) {
  Random random(seed, 7);
  Floats floats(size_of(size));
  std::ranges::generate(floats, [&] {
    const double radius = std::sqrt(-2 * std::log(1.0 - static_cast<double>(random.uniform())));
    return static_cast<float>(radius * std::cos(6.283185307179586 * static_cast<double>(random.uniform())));
  });
  return floats;
}

// How Problem computes: with factors of one or two planes, or exactly.
constexpr int kExactly = 0;

// A layer and one image, with results from plain loops in double precision.
struct Problem {
  Problem(const ConvolutionShape& shape, int factor_planes, std::uint64_t seed,
          Floats (*numbers)(std::int64_t, std::uint64_t))
      : s(shape), planes(factor_planes) {
    image = numbers(s.height * s.width * s.in, seed);
    weights = numbers(taps() * s.in * s.out, 2);
    biases = numbers(s.out, 3);
    gradient = numbers(s.pooled_size(), seed + 4);
    convolve();
    choose();
    pool();
    backward();
  }
  // The same with the choices of a kernel, which may differ from these near ties.
  void force(const Bytes& forced) {
    choices = forced;
    pool();
    backward();
  }
  std::int64_t taps() const { return s.window_height * s.window_width; }

  ConvolutionShape s;
  int planes;
  Floats image, weights, biases, gradient;
  Bytes choices;
  Floats pooled, image_gradient, weight_gradient, bias_gradient;

 private:
  using Doubles = std::vector<double>;

  double number(double x) const {
    return planes == kRounded ? static_cast<double>(rounded_to_bf16(static_cast<float>(x))) : x;
  }
  // With two planes, without the product of what rounding removes.
  double product(float x, float y) const {
    const double exact = static_cast<double>(x) * static_cast<double>(y);
    if (planes == kExactly) return exact;
    const auto first = static_cast<double>(rounded_to_bf16(x)), second = static_cast<double>(rounded_to_bf16(y));
    if (planes == kRounded) return first * second;
    return exact - (static_cast<double>(x) - first) * (static_cast<double>(y) - second);
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

  void convolve() {
    sums_.resize(size_of(s.height * s.width * s.out));
    for (std::int64_t pixel = 0; pixel < s.height * s.width; ++pixel) {
      for_taps(pixel / s.width, pixel % s.width, [&](std::int64_t from, std::int64_t tap) {
        for (std::int64_t ci = 0; ci < s.in; ++ci) {
          const float factor = image[size_of(from * s.in + ci)];
          for (std::int64_t co = 0; co < s.out; ++co) {
            sums_[size_of(pixel * s.out + co)] += product(factor, weights[size_of((tap * s.in + ci) * s.out + co)]);
          }
        }
      });
    }
  }
  double sum_at(std::int64_t i, std::uint8_t choice) const {
    return sums_[size_of(pixel_of(i / s.out, choice) * s.out + i % s.out)];
  }

  void choose() {
    for (std::int64_t i = 0; i < s.pooled_size(); ++i) {
      std::uint8_t chosen = 0;
      for (std::uint8_t choice = 1; choice < 4; ++choice) {
        if (sum_at(i, choice) > sum_at(i, chosen)) chosen = choice;
      }
      const double best = sum_at(i, chosen) + static_cast<double>(biases[size_of(i % s.out)]);
      choices.push_back(best <= 0 ? kNoneChosen : chosen);
    }
  }
  void pool() {
    pooled.clear();
    for (std::int64_t i = 0; i < s.pooled_size(); ++i) {
      const std::uint8_t choice = choices[size_of(i)];
      const double best =
          choice == kNoneChosen ? 0 : sum_at(i, choice) + static_cast<double>(biases[size_of(i % s.out)]);
      pooled.push_back(static_cast<float>(number(best)));
    }
  }

  void backward() {
    Doubles of_image(image.size()), of_weights(weights.size()), of_biases(biases.size());
    for (std::int64_t i = 0; i < s.pooled_size(); ++i) {
      const std::int64_t co = i % s.out;
      if (choices[size_of(i)] == kNoneChosen) continue;
      const std::int64_t pixel = pixel_of(i / s.out, choices[size_of(i)]);
      const float dy = gradient[size_of(i)];
      of_biases[size_of(co)] += number(static_cast<double>(dy));
      for_taps(pixel / s.width, pixel % s.width, [&](std::int64_t from, std::int64_t tap) {
        for (std::int64_t ci = 0; ci < s.in; ++ci) {
          const std::size_t weight = size_of((tap * s.in + ci) * s.out + co), input = size_of(from * s.in + ci);
          of_weights[weight] += product(dy, image[input]);
          of_image[input] += product(dy, weights[weight]);
        }
      });
    }
    image_gradient.assign(of_image.begin(), of_image.end());
    weight_gradient.assign(of_weights.begin(), of_weights.end());
    bias_gradient.assign(of_biases.begin(), of_biases.end());
  }

  std::int64_t pixel_of(std::int64_t pooled_pixel, std::int64_t choice) const {
    const std::int64_t y = pooled_pixel / (s.width / 2) * 2 + choice / 2, x = pooled_pixel % (s.width / 2) * 2;
    return y * s.width + x + choice % 2;
  }

  Doubles sums_;
};

// |a - b| / |b| in the L2 norm.
double relative_error(const Floats& a, const Floats& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

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

// The results of a layer's last run() in tiles for one image. Gradients are computed twice, because they are added to
// sums, and the second time without the image's.
struct Results {
  // Where the forward pass stores what it computes.
  Pooled pooled_of(const Problem& p) {
    pooled.assign(p.pooled.size(), -1.0f);
    choices.assign(p.choices.size(), 77);
    bias_sums.assign(p.biases.size(), 0.0f);
    return {pooled.data(), choices.data()};
  }

  Floats pooled, weight_gradient, bias_gradient, image_gradient;
  Floats weight_sums, bias_sums;  // twice the gradients
  Bytes choices;
};

struct ManyChannels : Results {
  ManyChannels(const AmxKernels& with, const TileConvolution& of)
      : kernels(with),
        shape(of),
        scratch(size_of(of.forward_scratch_size())),
        backward_scratch(size_of(of.backward_scratch_size())) {}

  void run(const Problem& p) {
    const Halves weights = right_factor(kernels, p.weights, p.s.out, shape.planes);
    kernels.convolution_forward({shape, p.image.data(), weights.data(), p.biases.data(), pooled_of(p), scratch.data()});
    const Halves reversed_weights = right_factor(kernels, reversed(p), p.s.in, shape.planes);
    Floats sums(p.weights.size());
    image_gradient.assign(p.image.size(), -1.0f);
    TileConvolutionBackward backward{.shape = shape,
                                     .image = p.image.data(),
                                     .gradient = {p.gradient.data(), choices.data()},
                                     .weights = reversed_weights.data(),
                                     .weight_sums = sums.data(),
                                     .bias_sums = bias_sums.data(),
                                     .image_gradient = image_gradient.data(),
                                     .scratch = backward_scratch.data()};
    kernels.convolution_backward(backward);
    weight_gradient = unblocked(sums, p.s);
    bias_gradient = bias_sums;
    backward.image_gradient = nullptr;
    kernels.convolution_backward(backward);
    weight_sums = unblocked(sums, p.s);
  }

  const AmxKernels& kernels;
  TileConvolution shape;
  Halves scratch, backward_scratch;
};

struct OneChannel : Results {
  OneChannel(const AmxKernels& with, const TileDirect& of)
      : kernels(with), shape(of), scratch(size_of(of.scratch_size())) {}

  void run(const Problem& p) {
    const Halves weights = right_factor(kernels, stacked(p), p.s.out, shape.planes);
    kernels.direct_forward({shape, p.image.data(), weights.data(), p.biases.data(), pooled_of(p), scratch.data()});
    weight_sums.assign(size_of(kBlockSide * p.s.out), 0.0f);
    const TileDirectBackward backward{
        shape,         p.image.data(), {p.gradient.data(), choices.data()}, weight_sums.data(), bias_sums.data(),
        scratch.data()};
    kernels.direct_backward(backward);
    weight_gradient.assign(weight_sums.begin(), weight_sums.begin() + std::ssize(p.weights));
    bias_gradient = bias_sums;
    kernels.direct_backward(backward);
    weight_sums.resize(p.weights.size());
  }

  const AmxKernels& kernels;
  TileDirect shape;
  Halves scratch;
};

void check_exact(const Results& results, const Problem& p) {
  CHECK(results.pooled == p.pooled);
  CHECK(results.choices == p.choices);
  CHECK(results.weight_gradient == p.weight_gradient);
  CHECK(results.bias_gradient == p.bias_gradient);
  const auto is_twice = [](float sum, float once) { return sum == 2 * once; };
  CHECK(std::ranges::equal(results.weight_sums, p.weight_gradient, is_twice));
  CHECK(std::ranges::equal(results.bias_sums, p.bias_gradient, is_twice));
}

}  // namespace

TEST_CASE("a convolution of many channels uses tiles correctly") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  ManyChannels layer(kernels, {GENERATE(ConvolutionShape{14, 14, 32, 64}, ConvolutionShape{2, 28, 64, 32},
                                        ConvolutionShape{4, 2, 32, 32}, ConvolutionShape{6, 18, 32, 96, 3, 7},
                                        ConvolutionShape{10, 34, 32, 32, 1, 1}, ConvolutionShape{8, 6, 32, 32, 7, 3},
                                        ConvolutionShape{4, 4, 32, 32, 9, 1}),
                               planes});
  // A second image must not be affected by the first.
  for (const std::uint64_t seed : {2, 1}) {
    const Problem p(layer.shape.convolution, planes, seed, near_integers);
    layer.run(p);
    check_exact(layer, p);
    CHECK(layer.image_gradient == p.image_gradient);
  }
}

TEST_CASE("a convolution of one channel uses tiles correctly") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  OneChannel layer(kernels, {GENERATE(ConvolutionShape{28, 28, 1, 32}, ConvolutionShape{14, 14, 1, 64},
                                      ConvolutionShape{2, 34, 1, 32, 3, 3}, ConvolutionShape{4, 66, 1, 32, 1, 7},
                                      ConvolutionShape{2, 2, 1, 32, 5, 5}),
                             planes});
  REQUIRE(layer.shape.fits());
  for (const std::uint64_t seed : {2, 1}) {
    const Problem p(layer.shape.convolution, planes, seed, near_integers);
    layer.run(p);
    check_exact(layer, p);
  }
}

// A factor is rounded by at most 2^-8, with two planes by 2^-16, and over many numbers the mean is a tenth of that.
TEST_CASE("convolutions of normal numbers are close to exact ones with the same choices") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const auto [planes, bound] = GENERATE(std::pair(kRounded, 2e-2), std::pair(kNearlyFloat, 1e-5));
  ManyChannels many(kernels, {GENERATE(ConvolutionShape{14, 14, 32, 64}, ConvolutionShape{6, 18, 64, 32}), planes});
  OneChannel one(kernels, {{28, 28, 1, 32}, planes});
  Problem of_many(many.shape.convolution, kExactly, 1, normal), of_one(one.shape.convolution, kExactly, 1, normal);
  many.run(of_many);
  of_many.force(many.choices);
  CHECK(relative_error(many.pooled, of_many.pooled) < bound);
  CHECK(relative_error(many.weight_gradient, of_many.weight_gradient) < bound);
  CHECK(relative_error(many.bias_gradient, of_many.bias_gradient) < bound);
  CHECK(relative_error(many.image_gradient, of_many.image_gradient) < bound);
  one.run(of_one);
  of_one.force(one.choices);
  CHECK(relative_error(one.pooled, of_one.pooled) < bound);
  CHECK(relative_error(one.weight_gradient, of_one.weight_gradient) < bound);
  CHECK(relative_error(one.bias_gradient, of_one.bias_gradient) < bound);
}

TEST_CASE("a NaN stays in the pixels that depend on it, and denormals count as zero") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  ManyChannels layer(kernels, {{14, 14, 32, 32}, planes});
  Problem p(layer.shape.convolution, planes, 1, near_integers);
  std::ranges::replace(p.image, 0.0f, std::numeric_limits<float>::min() / 2);
  layer.run(p);
  CHECK(layer.pooled == p.pooled);
  CHECK(layer.weight_gradient == p.weight_gradient);

  constexpr std::int64_t kChannel = 5;
  p.image[size_of(kChannel)] = std::numeric_limits<float>::quiet_NaN();               // of the first pixel
  p.gradient[size_of(48 * 32 + kChannel)] = std::numeric_limits<float>::quiet_NaN();  // of the last one
  layer.run(p);
  const std::int64_t last = std::ssize(p.pooled) - 32;
  CHECK(std::isnan(layer.pooled[0]));                    // The window of the first pixels covers it,
  CHECK_FALSE(std::isnan(layer.pooled[size_of(last)]));  // that of the last ones does not.
  const bool passed = layer.choices[size_of(last + kChannel)] != kNoneChosen;
  CHECK(std::isnan(layer.bias_gradient[kChannel]) == passed);
  CHECK_FALSE(std::isnan(layer.bias_gradient[kChannel + 1]));
}

TEST_CASE("windows of one channel that do not fit into a tile's depth are detected") {
  CHECK(TileDirect{{.height = 28, .width = 28, .in = 1, .out = 32}}.fits());
  CHECK_FALSE(
      TileDirect{{.height = 28, .width = 28, .in = 1, .out = 32, .window_height = 7, .window_width = 5}}.fits());
  CHECK_FALSE(
      TileDirect{{.height = 28, .width = 28, .in = 1, .out = 32, .window_height = 5, .window_width = 7}}.fits());
}
