#include "lib/backend/reference/layers.h"

#include <algorithm>
#include <vector>

#include "lib/backend/reference/convolution.h"

namespace distmnist::reference {
namespace {

void relu_forward(std::span<double> values) {
  for (double& value : values) value = std::max(value, 0.0);
}

// The gradient passes where the output is above zero, or where forced choices say so.
void relu_backward(const Pass& pass, std::span<const double> output, std::span<double> gradient) {
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const bool passes = pass.choices.empty() ? output[i] > 0.0 : pass.choices[i] != 0;
    if (!passes) gradient[i] = 0.0;
  }
}

// Calls visit(output position, row, column) with the top left corner of each window, plane by plane.
template <typename Visit>
void for_each_window(std::int64_t planes, const Shape& output, const Window& window, Visit visit) {
  std::int64_t position = 0;
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    for (std::int64_t y = 0; y < output.height; ++y) {
      for (std::int64_t x = 0; x < output.width; ++x) visit(position++, plane, y * window.stride, x * window.stride);
    }
  }
}

// The position in `input` of the largest number under the window; the first one on a tie.
std::int64_t argmax(std::span<const double> input, const Shape& shape, const Window& window, std::int64_t plane,
                    std::int64_t top, std::int64_t left) {
  const std::int64_t corner = (plane * shape.height + top) * shape.width + left;
  std::int64_t best = corner;
  for (std::int64_t y = 0; y < window.height; ++y) {
    for (std::int64_t x = 0; x < window.width; ++x) {
      const std::int64_t position = corner + y * shape.width + x;
      if (input[position] > input[best]) best = position;
    }
  }
  return best;
}

struct Forward {
  const Pass& pass;
  std::span<const double> input;
  std::span<double> output;

  void operator()(const Conv2d& layer) const {
    convolve(layer, pass.batch, pass.parameters, input, output);
    if (layer.activation == Activation::kRelu) relu_forward(output);
  }
  void operator()(const MaxPool2d& layer) const {
    for_each_window(pass.batch * layer.input.channels, layer.output, layer.window,
                    [&](std::int64_t position, std::int64_t plane, std::int64_t top, std::int64_t left) {
                      output[position] = input[argmax(input, layer.input, layer.window, plane, top, left)];
                    });
  }
  void operator()(const AvgPool2d& layer) const {
    const Window& window = layer.window;
    for_each_window(pass.batch * layer.input.channels, layer.output, window,
                    [&](std::int64_t position, std::int64_t plane, std::int64_t top, std::int64_t left) {
                      double sum = 0;
                      for (std::int64_t y = top; y < top + window.height; ++y) {
                        for (std::int64_t x = left; x < left + window.width; ++x) {
                          sum += input[(plane * layer.input.height + y) * layer.input.width + x];
                        }
                      }
                      output[position] = sum / static_cast<double>(window.height * window.width);
                    });
  }
  void operator()(const Flatten&) const { std::ranges::copy(input, output.begin()); }
  void operator()(const FullyConnected& layer) const {
    const std::int64_t inputs = layer.input.size(), outputs = layer.output.size();
    const std::span<const float> weights = slice(pass.parameters, layer.weights);
    const std::span<const float> biases = slice(pass.parameters, layer.biases);
    for (std::int64_t n = 0; n < pass.batch; ++n) {
      for (std::int64_t o = 0; o < outputs; ++o) {
        double sum = biases[o];
        for (std::int64_t i = 0; i < inputs; ++i) sum += weights[o * inputs + i] * input[n * inputs + i];
        output[n * outputs + o] = sum;
      }
    }
    if (layer.activation == Activation::kRelu) relu_forward(output);
  }
  void operator()(const Dropout&) const {
    std::ranges::copy(input, output.begin());
    for (std::size_t i = 0; i < pass.dropout_mask.size(); ++i) output[i] *= pass.dropout_mask[i];
  }
  void operator()(const Relu&) const {
    std::ranges::copy(input, output.begin());
    relu_forward(output);
  }
};

struct Backward {
  const Pass& pass;
  std::span<const double> input;
  std::span<const double> output;
  std::span<double> output_gradient;
  std::span<double> input_gradient;
  std::span<float> parameter_gradients;

  void operator()(const Conv2d& layer) const {
    if (layer.activation == Activation::kRelu) relu_backward(pass, output, output_gradient);
    convolve_backward_parameters(layer, pass.batch, input, output_gradient, parameter_gradients);
    if (!input_gradient.empty())
      convolve_backward_input(layer, pass.batch, pass.parameters, output_gradient, input_gradient);
  }
  void operator()(const MaxPool2d& layer) const {
    std::ranges::fill(input_gradient, 0.0);
    for_each_window(pass.batch * layer.input.channels, layer.output, layer.window,
                    [&](std::int64_t position, std::int64_t plane, std::int64_t top, std::int64_t left) {
                      const std::int64_t chosen = chosen_pixel(layer, position, plane, top, left);
                      if (chosen >= 0) input_gradient[chosen] += output_gradient[position];
                    });
  }
  void operator()(const AvgPool2d& layer) const {
    const Window& window = layer.window;
    std::ranges::fill(input_gradient, 0.0);
    for_each_window(pass.batch * layer.input.channels, layer.output, window,
                    [&](std::int64_t position, std::int64_t plane, std::int64_t top, std::int64_t left) {
                      const double share =
                          output_gradient[position] / static_cast<double>(window.height * window.width);
                      for (std::int64_t y = top; y < top + window.height; ++y) {
                        for (std::int64_t x = left; x < left + window.width; ++x) {
                          input_gradient[(plane * layer.input.height + y) * layer.input.width + x] += share;
                        }
                      }
                    });
  }
  void operator()(const Flatten&) const { std::ranges::copy(output_gradient, input_gradient.begin()); }
  void operator()(const FullyConnected& layer) const {
    if (layer.activation == Activation::kRelu) relu_backward(pass, output, output_gradient);
    backward_parameters(layer);
    if (!input_gradient.empty()) backward_input(layer);
  }
  void operator()(const Dropout&) const {
    for (std::size_t i = 0; i < input_gradient.size(); ++i)
      input_gradient[i] = output_gradient[i] * pass.dropout_mask[i];
  }
  void operator()(const Relu&) const {
    relu_backward(pass, output, output_gradient);
    std::ranges::copy(output_gradient, input_gradient.begin());
  }

 private:
  // The pixel that gets the pool's gradient at `position`; -1 for none.
  std::int64_t chosen_pixel(const MaxPool2d& layer, std::int64_t position, std::int64_t plane, std::int64_t top,
                            std::int64_t left) const {
    if (pass.choices.empty()) return argmax(input, layer.input, layer.window, plane, top, left);
    const std::int64_t pixel = pass.choices[position];
    if (pixel == LayerChoices::kNoneChosen) return -1;
    const std::int64_t row = top + pixel / layer.window.width, column = left + pixel % layer.window.width;
    return (plane * layer.input.height + row) * layer.input.width + column;
  }
  void backward_parameters(const FullyConnected& layer) const {
    const std::int64_t inputs = layer.input.size(), outputs = layer.output.size();
    const std::span<float> weights = slice(parameter_gradients, layer.weights);
    const std::span<float> biases = slice(parameter_gradients, layer.biases);
    std::vector<double> row(static_cast<std::size_t>(inputs));
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      std::ranges::fill(row, 0.0);
      for (std::int64_t n = 0; n < pass.batch; ++n) {
        const double gradient = output_gradient[n * outputs + o];
        sum += gradient;
        for (std::int64_t i = 0; i < inputs; ++i) row[i] += gradient * input[n * inputs + i];
      }
      biases[o] = static_cast<float>(sum);
      std::ranges::transform(row, weights.begin() + o * inputs, [](double value) { return static_cast<float>(value); });
    }
  }
  void backward_input(const FullyConnected& layer) const {
    const std::int64_t inputs = layer.input.size(), outputs = layer.output.size();
    const std::span<const float> weights = slice(pass.parameters, layer.weights);
    std::ranges::fill(input_gradient, 0.0);
    for (std::int64_t n = 0; n < pass.batch; ++n) {
      for (std::int64_t o = 0; o < outputs; ++o) {
        const double gradient = output_gradient[n * outputs + o];
        for (std::int64_t i = 0; i < inputs; ++i) input_gradient[n * inputs + i] += gradient * weights[o * inputs + i];
      }
    }
  }
};

}  // namespace

void forward(const Layer& layer, const Pass& pass, std::span<const double> input, std::span<double> output) {
  std::visit(Forward{pass, input, output}, layer);
}

void backward(const Layer& layer, const Pass& pass, std::span<const double> input, std::span<const double> output,
              std::span<double> output_gradient, std::span<double> input_gradient,
              std::span<float> parameter_gradients) {
  std::visit(Backward{pass, input, output, output_gradient, input_gradient, parameter_gradients}, layer);
}

}  // namespace distmnist::reference
