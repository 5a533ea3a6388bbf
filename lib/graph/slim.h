// Net: declares a model layer by layer, with the defaults of TF-Slim: 5x5-style kernels, SAME padding, stride 1 and
// ReLU for convolutions; stride 2 and VALID for pooling; ReLU for fully connected layers; Xavier-uniform weights, zero
// biases.
#pragma once

#include <array>
#include <string>

#include "lib/graph/graph.h"

namespace distmnist::slim {

struct Conv2dOptions {
  std::int64_t stride = 1;
  Padding padding = Padding::kSame;
  Activation activation_fn = Activation::kRelu;
};

// Each call appends one layer, names its variables "<scope>/weights" and "<scope>/biases" and infers the output shape.
// Error (kUsage): a window larger than its input, a size below 1, an empty or duplicate scope, a reshape that changes
// the size, a fully connected layer on an image that is not flattened, or a value of an elementwise layer that is
// outside its range (check_values()).
class Net {
 public:
  explicit Net(std::int64_t input_size);  // x: [batch, input_size]

  // Treats the input as an image, height x width x channels. Call before adding layers.
  Net& reshape(std::int64_t height, std::int64_t width, std::int64_t channels);
  Net& conv2d(std::int64_t filters, std::array<std::int64_t, 2> kernel, const std::string& scope,
              const Conv2dOptions& options = {});
  Net& max_pool2d(std::array<std::int64_t, 2> kernel, const std::string& scope, std::int64_t stride = 2);
  Net& avg_pool2d(std::array<std::int64_t, 2> kernel, const std::string& scope, std::int64_t stride = 2);
  Net& flatten(const std::string& scope);
  Net& fully_connected(std::int64_t outputs, const std::string& scope, Activation activation_fn = Activation::kRelu);
  Net& dropout(float keep_prob, const std::string& scope);
  Net& relu(const std::string& scope);
  // `layer` with its own values, such as Dropout{.keep_prob = 0.5f}. Net sets its scope, shapes and stream.
  Net& add(ElementwiseLayer layer, const std::string& scope);

  // The finished graph. Error (kUsage) unless the output of its last layer is {classes, 1, 1} with 2 to 256 classes.
  Graph build() const;

 private:
  Net& append(Layer layer);
  Range add_variable(const std::string& name, std::vector<std::int64_t> shape, std::int64_t fan_in,
                     std::int64_t fan_out);
  void claim_scope(const std::string& scope) const;

  Graph graph_;
  Shape shape_;  // of the last layer's output
};

}  // namespace distmnist::slim
