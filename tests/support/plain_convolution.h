// A convolution with relu and 2x2 max-pool of one image, in plain loops and double precision, for comparison with the
// kernels of lib/backend/cpu/vector.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"
#include "lib/base/random.h"
#include "tests/support/guarded.h"

namespace distmnist {

// |a - b| / |b| in the L2 norm; the absolute difference where b is zero.
inline double relative_l2_error(std::span<const float> a, std::span<const double> b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(a[i] - b[i], 2);
    norm += std::pow(b[i], 2);
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

struct PlainGradients {
  std::vector<double> weights, biases, image;
};

struct PlainConvolution {
  cpu::ConvolutionShape shape;
  std::vector<float> image;    // [height, width, in]
  std::vector<float> weights;  // [window_height, window_width, in, out]
  std::vector<float> biases;   // [out]

  // Fills everything with the results of next(), in order.
  template <typename Next>
  PlainConvolution(const cpu::ConvolutionShape& of, const Next& next)
      : shape(of),
        image(static_cast<std::size_t>(of.height * of.width * of.in)),
        weights(static_cast<std::size_t>(of.window_height * of.window_width * of.in * of.out)),
        biases(static_cast<std::size_t>(of.out)) {
    for (std::vector<float>* each : {&image, &weights, &biases}) std::ranges::generate(*each, next);
  }

  // [height, width, out], biases added, before relu.
  std::vector<double> pixels() const {
    std::vector<double> out(static_cast<std::size_t>(shape.height * shape.width * shape.out));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = biases[i % biases.size()];
    for_each_product([&](std::int64_t from, std::int64_t weight, std::int64_t to) {
      for (std::int64_t o = 0; o < shape.out; ++o) out[at(to + o)] += double{image[at(from)]} * weights[at(weight + o)];
    });
    return out;
  }

  // Computes the gradients from the gradients [height / 2, width / 2, out] of the pooled numbers and the pixels that
  // these belong to.
  PlainGradients gradients(std::span<const float> values, std::span<const std::uint8_t> choices) const {
    std::vector<double> pixels(static_cast<std::size_t>(shape.height * shape.width * shape.out));
    PlainGradients sums{.weights = std::vector<double>(weights.size()),
                        .biases = std::vector<double>(biases.size()),
                        .image = std::vector<double>(image.size())};
    for (std::int64_t i = 0; i < shape.pooled_size(); ++i) {
      if (choices[at(i)] == cpu::kNoneChosen) continue;
      pixels[at(pixel_of(i, choices[at(i)]))] = values[at(i)];
      sums.biases[at(i % shape.out)] += values[at(i)];
    }
    for_each_product([&](std::int64_t from, std::int64_t weight, std::int64_t to) {
      for (std::int64_t o = 0; o < shape.out; ++o) {
        sums.weights[at(weight + o)] += image[at(from)] * pixels[at(to + o)];
        sums.image[at(from)] += weights[at(weight + o)] * pixels[at(to + o)];
      }
    });
    return sums;
  }

  // The position in [height, width, out] of the pixel `choice` for pooled number i.
  std::int64_t pixel_of(std::int64_t i, int choice) const {
    const std::int64_t channel = i % shape.out, window = i / shape.out;
    const std::int64_t y = window / (shape.width / 2) * 2 + choice / 2, x = window % (shape.width / 2) * 2 + choice % 2;
    return (y * shape.width + x) * shape.out + channel;
  }

  // The image with zeros around it, as [rows, columns, in].
  Guarded framed(std::int64_t rows, std::int64_t columns) const {
    Guarded frame(rows * columns * shape.in);
    frame.fill([] { return 0.0f; });
    for (std::int64_t y = 0; y < shape.height; ++y) {
      const auto row = std::span(image).subspan(at(y * shape.width * shape.in), at(shape.width * shape.in));
      std::ranges::copy(row, frame.data() + framed_at(y, columns));
    }
    return frame;
  }
  // The part of the frame that contains the image, [height, width, in].
  std::vector<float> unframed(const Guarded& frame, std::int64_t columns) const {
    std::vector<float> out;
    for (std::int64_t y = 0; y < shape.height; ++y) {
      const float* row = frame.data() + framed_at(y, columns);
      out.insert(out.end(), row, row + shape.width * shape.in);
    }
    return out;
  }

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
  std::int64_t framed_at(std::int64_t y, std::int64_t columns) const {
    return ((y + shape.window_height / 2) * columns + shape.window_width / 2) * shape.in;
  }

  // Calls work(position of the input number, of its weights, of its outputs) for all of them.
  template <typename Work>
  void for_each_product(const Work& work) const {
    for (std::int64_t y = 0; y < shape.height; ++y) {
      for (std::int64_t x = 0; x < shape.width; ++x) {
        for (std::int64_t ky = 0; ky < shape.window_height; ++ky) {
          for (std::int64_t kx = 0; kx < shape.window_width; ++kx) {
            const std::int64_t iy = y + ky - shape.window_height / 2, ix = x + kx - shape.window_width / 2;
            if (iy < 0 || iy >= shape.height || ix < 0 || ix >= shape.width) continue;
            for (std::int64_t c = 0; c < shape.in; ++c) {
              work((iy * shape.width + ix) * shape.in + c, ((ky * shape.window_width + kx) * shape.in + c) * shape.out,
                   (y * shape.width + x) * shape.out);
            }
          }
        }
      }
    }
  }
};

// The result of relu and pool; on a tie the first pixel is chosen.
struct PlainPooled {
  std::vector<double> values;
  std::vector<std::uint8_t> choices;
};
inline PlainPooled plain_pooled(const PlainConvolution& convolution, std::span<const double> pixels) {
  PlainPooled pooled;
  for (std::int64_t i = 0; i < convolution.shape.pooled_size(); ++i) {
    double best = 0;
    std::uint8_t chosen = cpu::kNoneChosen;
    for (std::uint8_t choice = 0; choice < 4; ++choice) {
      const double value = pixels[static_cast<std::size_t>(convolution.pixel_of(i, choice))];
      if (value > best) best = value, chosen = choice;
    }
    pooled.values.push_back(best);
    pooled.choices.push_back(chosen);
  }
  return pooled;
}

// Memory for pooled numbers with guards around it.
struct GuardedPooled {
  static constexpr std::int64_t kGuard = 64;        // bytes
  static constexpr std::uint8_t kUntouched = 0xA5;  // no choice

  explicit GuardedPooled(const cpu::ConvolutionShape& shape)
      : values(shape.pooled_size()), bytes(static_cast<std::size_t>(shape.pooled_size() + 2 * kGuard), kUntouched) {}

  cpu::Pooled pooled() { return {values.data(), bytes.data() + kGuard}; }
  cpu::PooledGradient gradient() const { return {values.data(), bytes.data() + kGuard}; }
  std::span<std::uint8_t> choices() { return std::span(bytes).subspan(kGuard, bytes.size() - 2 * kGuard); }
  bool is_whole() const {
    const auto untouched = [](std::uint8_t byte) { return byte == kUntouched; };
    return values.is_whole() && std::all_of(bytes.begin(), bytes.begin() + kGuard, untouched) &&
           std::all_of(bytes.end() - kGuard, bytes.end(), untouched);
  }

  // Fills it with random gradients.
  void fill(Random& random) {
    values.fill_uniform(random);
    for (std::uint8_t& choice : choices()) {
      const auto any = static_cast<std::uint8_t>(random.below(5));
      choice = any == 4 ? cpu::kNoneChosen : any;
    }
  }

  Guarded values;
  std::vector<std::uint8_t> bytes;
};

// The number of choices that are not the largest pixel or, within `rounding`, as good as it.
inline std::int64_t count_wrong_choices(const PlainConvolution& convolution, std::span<const double> pixels,
                                        std::span<const std::uint8_t> choices, double rounding) {
  const PlainPooled best = plain_pooled(convolution, pixels);
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    double value = 0;
    if (choices[i] < 4) {
      value = pixels[static_cast<std::size_t>(convolution.pixel_of(static_cast<std::int64_t>(i), choices[i]))];
    } else if (choices[i] != cpu::kNoneChosen) {
      ++wrong;
    }
    if (std::abs(value - best.values[i]) > rounding) ++wrong;
  }
  return wrong;
}

}  // namespace distmnist
