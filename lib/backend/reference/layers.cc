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

// The top left pixel of a window.
struct Corner {
  std::int64_t plane = 0, top = 0, left = 0;  // planes are counted over the batch
};

// Calls visit(output position, corner) for each window, plane by plane.
template <typename Visit>
void for_each_window(std::int64_t planes, const Shape& output, const Window& window, Visit visit) {
  std::int64_t position = 0;
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    for (std::int64_t y = 0; y < output.height; ++y) {
      for (std::int64_t x = 0; x < output.width; ++x)
        visit(position++, Corner{plane, y * window.stride, x * window.stride});
    }
  }
}

// The position in a layer's input of the pixel in this row and column of a window.
std::int64_t position_of(const Shape& input, const Corner& corner, std::int64_t row, std::int64_t column) {
  return (corner.plane * input.height + corner.top + row) * input.width + corner.left + column;
}

// The position in `input` of the largest number under the window; the first one on a tie.
std::int64_t argmax(std::span<const double> input, const MaxPool2d& layer, const Corner& corner) {
  std::int64_t best = position_of(layer.input, corner, 0, 0);
  for (std::int64_t y = 0; y < layer.window.height; ++y) {
    for (std::int64_t x = 0; x < layer.window.width; ++x) {
      const std::int64_t position = position_of(layer.input, corner, y, x);
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
    convolve(layer, pass.parameters, input, output);
    if (layer.activation == Activation::kRelu) relu_forward(output);
  }
  void operator()(const MaxPool2d& layer) const {
    for_each_window(
        pass.batch * layer.input.channels, layer.output, layer.window,
        [&](std::int64_t position, const Corner& corner) { output[position] = input[argmax(input, layer, corner)]; });
  }
  void operator()(const AvgPool2d& layer) const {
    const Window& window = layer.window;
    for_each_window(pass.batch * layer.input.channels, layer.output, window,
                    [&](std::int64_t position, const Corner& corner) {
                      double sum = 0;
                      for (std::int64_t y = 0; y < window.height; ++y) {
                        for (std::int64_t x = 0; x < window.width; ++x) {
                          sum += input[position_of(layer.input, corner, y, x)];
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
  Activations activations;
  Gradients gradients;

  void operator()(const Conv2d& layer) const {
    if (layer.activation == Activation::kRelu) relu_backward(pass, activations.output, gradients.output);
    convolve_backward_parameters(layer, activations.input, gradients.output, gradients.parameters);
    if (!gradients.input.empty()) convolve_backward_input(layer, pass.parameters, gradients.output, gradients.input);
  }
  void operator()(const MaxPool2d& layer) const {
    std::ranges::fill(gradients.input, 0.0);
    for_each_window(pass.batch * layer.input.channels, layer.output, layer.window,
                    [&](std::int64_t position, const Corner& corner) {
                      const std::int64_t chosen = chosen_pixel(layer, position, corner);
                      if (chosen >= 0) gradients.input[chosen] += gradients.output[position];
                    });
  }
  void operator()(const AvgPool2d& layer) const {
    const Window& window = layer.window;
    std::ranges::fill(gradients.input, 0.0);
    for_each_window(
        pass.batch * layer.input.channels, layer.output, window, [&](std::int64_t position, const Corner& corner) {
          const double share = gradients.output[position] / static_cast<double>(window.height * window.width);
          for (std::int64_t y = 0; y < window.height; ++y) {
            for (std::int64_t x = 0; x < window.width; ++x) {
              gradients.input[position_of(layer.input, corner, y, x)] += share;
            }
          }
        });
  }
  void operator()(const Flatten&) const { std::ranges::copy(gradients.output, gradients.input.begin()); }
  void operator()(const FullyConnected& layer) const {
    if (layer.activation == Activation::kRelu) relu_backward(pass, activations.output, gradients.output);
    backward_parameters(layer);
    if (!gradients.input.empty()) backward_input(layer);
  }
  void operator()(const Dropout&) const {
    for (std::size_t i = 0; i < gradients.input.size(); ++i)
      gradients.input[i] = gradients.output[i] * pass.dropout_mask[i];
  }
  void operator()(const Relu&) const {
    relu_backward(pass, activations.output, gradients.output);
    std::ranges::copy(gradients.output, gradients.input.begin());
  }

 private:
  // The pixel that gets the pool's gradient at `position`; -1 for none.
  std::int64_t chosen_pixel(const MaxPool2d& layer, std::int64_t position, const Corner& corner) const {
    if (pass.choices.empty()) return argmax(activations.input, layer, corner);
    const std::int64_t pixel = pass.choices[position];
    if (pixel == LayerChoices::kNoneChosen) return -1;
    return position_of(layer.input, corner, pixel / layer.window.width, pixel % layer.window.width);
  }
  void backward_parameters(const FullyConnected& layer) const {
    const std::int64_t inputs = layer.input.size(), outputs = layer.output.size();
    const std::span<float> weights = slice(gradients.parameters, layer.weights);
    const std::span<float> biases = slice(gradients.parameters, layer.biases);
    std::vector<double> row(static_cast<std::size_t>(inputs));
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      std::ranges::fill(row, 0.0);
      for (std::int64_t n = 0; n < pass.batch; ++n) {
        const double gradient = gradients.output[n * outputs + o];
        sum += gradient;
        for (std::int64_t i = 0; i < inputs; ++i) row[i] += gradient * activations.input[n * inputs + i];
      }
      biases[o] = static_cast<float>(sum);
      std::ranges::transform(row, weights.begin() + o * inputs, [](double value) { return static_cast<float>(value); });
    }
  }
  void backward_input(const FullyConnected& layer) const {
    const std::int64_t inputs = layer.input.size(), outputs = layer.output.size();
    const std::span<const float> weights = slice(pass.parameters, layer.weights);
    std::ranges::fill(gradients.input, 0.0);
    for (std::int64_t n = 0; n < pass.batch; ++n) {
      for (std::int64_t o = 0; o < outputs; ++o) {
        const double gradient = gradients.output[n * outputs + o];
        for (std::int64_t i = 0; i < inputs; ++i) gradients.input[n * inputs + i] += gradient * weights[o * inputs + i];
      }
    }
  }
};

}  // namespace

void forward(const Layer& layer, const Pass& pass, std::span<const double> input, std::span<double> output) {
  std::visit(Forward{pass, input, output}, layer);
}

void backward(const Layer& layer, const Pass& pass, const Activations& activations, const Gradients& gradients) {
  std::visit(Backward{pass, activations, gradients}, layer);
}

}  // namespace distmnist::reference
