#include "lib/backend/reference/convolution.h"

#include <algorithm>

namespace distmnist::reference {
namespace {

// The rows of a convolution, or its columns, in pixels.
struct Axis {
  std::int64_t input, output, stride, pad;

  // The input of an output at kernel position `k`; outside the image if it is in the padding.
  std::int64_t source(std::int64_t at, std::int64_t k) const { return at * stride + k - pad; }
};

// The outputs along an axis, [begin, end), whose input at kernel position `k` is inside the image.
struct Inside {
  std::int64_t begin, end;
};
Inside inside(const Axis& axis, std::int64_t k) {
  std::int64_t begin = 0, end = axis.output;
  while (begin < end && axis.source(begin, k) < 0) ++begin;
  while (end > begin && axis.source(end - 1, k) >= axis.input) --end;
  return {begin, end};
}

// The number of samples that `output`, or its gradient, is of.
std::int64_t batch_of(const Conv2d& layer, std::span<const double> output) {
  return std::ssize(output) / layer.output.size();
}

// Calls visit(weight, output position, input position, length) for each run of outputs in one row of sample n and
// output channel o to which one weight contributes. Input positions advance by the stride. Positions count from the
// start of the spans.
template <typename Visit>
void for_each_run(const Conv2d& layer, std::int64_t n, std::int64_t o, Visit visit) {
  const Shape& in = layer.input;
  const Shape& out = layer.output;
  const Window& window = layer.window;
  const Axis vertical{in.height, out.height, window.stride, window.pad_top};
  const Axis horizontal{in.width, out.width, window.stride, window.pad_left};
  std::int64_t weight = o * in.channels * window.height * window.width;
  for (std::int64_t i = 0; i < in.channels; ++i) {
    for (std::int64_t ky = 0; ky < window.height; ++ky) {
      const Inside rows = inside(vertical, ky);
      for (std::int64_t kx = 0; kx < window.width; ++kx, ++weight) {
        const Inside columns = inside(horizontal, kx);
        for (std::int64_t y = rows.begin; y < rows.end; ++y) {
          const std::int64_t input_row = (n * in.channels + i) * in.height + vertical.source(y, ky);
          const std::int64_t output_row = (n * out.channels + o) * out.height + y;
          visit(weight, output_row * out.width + columns.begin,
                input_row * in.width + horizontal.source(columns.begin, kx), columns.end - columns.begin);
        }
      }
    }
  }
}

}  // namespace

void convolve(const Conv2d& layer, std::span<const float> parameters, std::span<const double> input,
              std::span<double> output) {
  const std::span<const float> weights = slice(parameters, layer.weights);
  const std::span<const float> biases = slice(parameters, layer.biases);
  const std::int64_t stride = layer.window.stride;
  const std::int64_t plane = layer.output.height * layer.output.width;
  for (std::int64_t n = 0; n < batch_of(layer, output); ++n) {
    for (std::int64_t o = 0; o < layer.output.channels; ++o) {
      std::fill_n(output.begin() + (n * layer.output.channels + o) * plane, plane, biases[o]);
      for_each_run(layer, n, o, [&](std::int64_t weight, std::int64_t to, std::int64_t from, std::int64_t length) {
        const double factor = weights[weight];
        for (std::int64_t x = 0; x < length; ++x) output[to + x] += factor * input[from + x * stride];
      });
    }
  }
}

void convolve_backward_parameters(const Conv2d& layer, std::span<const double> input,
                                  std::span<const double> output_gradient, std::span<float> parameter_gradients) {
  const std::int64_t stride = layer.window.stride;
  const std::int64_t plane = layer.output.height * layer.output.width;
  std::vector<double> weights(static_cast<std::size_t>(layer.weights.size), 0.0);
  std::vector<double> biases(static_cast<std::size_t>(layer.biases.size), 0.0);
  for (std::int64_t n = 0; n < batch_of(layer, output_gradient); ++n) {
    for (std::int64_t o = 0; o < layer.output.channels; ++o) {
      const auto gradients = output_gradient.subspan((n * layer.output.channels + o) * plane, plane);
      for (const double gradient : gradients) biases[o] += gradient;
      for_each_run(layer, n, o, [&](std::int64_t weight, std::int64_t to, std::int64_t from, std::int64_t length) {
        double sum = 0;
        for (std::int64_t x = 0; x < length; ++x) sum += output_gradient[to + x] * input[from + x * stride];
        weights[weight] += sum;
      });
    }
  }
  const auto to_float = [](double value) { return static_cast<float>(value); };
  std::ranges::transform(weights, slice(parameter_gradients, layer.weights).begin(), to_float);
  std::ranges::transform(biases, slice(parameter_gradients, layer.biases).begin(), to_float);
}

void convolve_backward_input(const Conv2d& layer, std::span<const float> parameters,
                             std::span<const double> output_gradient, std::span<double> input_gradient) {
  const std::span<const float> weights = slice(parameters, layer.weights);
  const std::int64_t stride = layer.window.stride;
  std::ranges::fill(input_gradient, 0.0);
  for (std::int64_t n = 0; n < batch_of(layer, output_gradient); ++n) {
    for (std::int64_t o = 0; o < layer.output.channels; ++o) {
      for_each_run(layer, n, o, [&](std::int64_t weight, std::int64_t to, std::int64_t from, std::int64_t length) {
        const double factor = weights[weight];
        for (std::int64_t x = 0; x < length; ++x) input_gradient[from + x * stride] += factor * output_gradient[to + x];
      });
    }
  }
}

}  // namespace distmnist::reference
