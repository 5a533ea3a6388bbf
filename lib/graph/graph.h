// Graph: a model as plain data. Its variables are named ranges of one contiguous float32 block; gradients and optimizer
// slots share that layout. It is independent of device, batch size and arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/base/range.h"

namespace distmnist {

// The data of one sample between two layers, in [channels, height, width] order. A flat vector of n numbers is {n, 1,
// 1}.
struct Shape {
  std::int64_t channels = 1;
  std::int64_t height = 1;
  std::int64_t width = 1;

  std::int64_t size() const { return channels * height * width; }
  bool operator==(const Shape&) const = default;
};

enum class Padding { kValid, kSame };
enum class Activation { kNone, kRelu };

// A rectangular window; kernel and stride in pixels.
struct Window {
  std::int64_t height = 2;
  std::int64_t width = 2;
  std::int64_t stride = 2;
  // Padding before the first and after the last row and column (0 for VALID). With SAME, an odd pixel of padding goes
  // at the end, as in TensorFlow.
  std::int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;

  bool operator==(const Window&) const = default;
};

// weights [out, in, height, width] (OIHW), biases [out].
struct Conv2d {
  std::string scope;
  Shape input, output;
  Window window;
  Activation activation = Activation::kRelu;
  Range weights, biases;
};
struct MaxPool2d {
  std::string scope;
  Shape input, output;
  Window window;  // never padded
};
struct AvgPool2d {
  std::string scope;
  Shape input, output;
  Window window;  // never padded
};
// [channels, height, width] -> [channels * height * width], in CHW order: changes only the shape and moves no data.
struct Flatten {
  std::string scope;
  Shape input, output;
};
// weights [out, in], biases [out].
struct FullyConnected {
  std::string scope;
  Shape input, output;
  Activation activation = Activation::kRelu;
  Range weights, biases;
};
// In training, each number is kept with probability keep_prob and divided by keep_prob, else set to zero. In
// prediction, the identity.
struct Dropout {
  std::string scope = {};
  Shape input = {}, output = {};
  float keep_prob = 0.5f;
  std::uint64_t stream = 0;  // distinguishes the masks of several dropout layers
};
struct Relu {
  std::string scope = {};
  Shape input = {}, output = {};
};

// Closed sets on purpose: a new layer does not compile until every backend handles it. An elementwise layer has no
// variables, processes each number separately and keeps the shape; it is in both sets.
using ElementwiseLayer = std::variant<Dropout, Relu>;
using Layer = std::variant<Conv2d, MaxPool2d, AvgPool2d, Flatten, FullyConnected, Dropout, Relu>;

struct Variable {
  std::string name;                 // "conv1/weights"
  std::vector<std::int64_t> shape;  // row-major
  Range range;
  // Connections per output and per input, for Xavier initialization; both 0 for a bias, which starts at zero.
  std::int64_t fan_in = 0;
  std::int64_t fan_out = 0;
};

// The loss is always softmax cross-entropy over the last layer's output (the logits), averaged over the batch.
struct Graph {
  Shape input;
  std::vector<Layer> layers;        // in order of the forward pass
  std::vector<Variable> variables;  // in order of their ranges, without gaps
  std::int64_t num_parameters = 0;  // floats in the block

  Shape output() const;  // the logits: {classes, 1, 1}
};

const std::string& scope_of(const Layer& layer);
// Whether the layer has weights and biases.
bool has_variables(const Layer& layer);
Shape output_of(const Layer& layer);

// Error (kUsage): a value of the layer that is outside its range.
void check_values(const ElementwiseLayer& layer);

// What TensorFlow computes a layer with, for --log_device_placement.
struct GradientOperation {
  std::string_view name;
  std::string_view type;
  bool of_input = true;  // the gradient of the layer's input, not of a variable
};
struct LayerOperation {
  std::string_view type;  // also its name within the layer's scope
  std::vector<GradientOperation> gradients;
};
// In order of the forward pass.
std::vector<LayerOperation> operations_of(const Layer& layer);

// A text that is equal only for graphs that compute the same function with the same variables; short enough for a log.
std::string describe(const Graph& graph);

}  // namespace distmnist
