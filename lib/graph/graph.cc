#include "lib/graph/graph.h"

#include <cassert>
#include <utility>

#include <fmt/core.h>

#include "lib/base/error.h"

namespace distmnist {
namespace {

std::string text(const Shape& shape) {
  return fmt::format("{}x{}x{}", shape.channels, shape.height, shape.width);
}

std::string text(const Window& window) {
  return fmt::format("{}x{} stride {} pad {},{},{},{}", window.height, window.width, window.stride, window.pad_top,
                     window.pad_bottom, window.pad_left, window.pad_right);
}

std::string_view text(Activation activation) {
  return activation == Activation::kRelu ? " relu" : "";
}

// Describes what a layer computes, without its scope and shapes.
struct Describe {
  std::string operator()(const Conv2d& layer) const {
    return fmt::format("conv2d {}{}", text(layer.window), text(layer.activation));
  }
  std::string operator()(const MaxPool2d& layer) const { return "max_pool2d " + text(layer.window); }
  std::string operator()(const AvgPool2d& layer) const { return "avg_pool2d " + text(layer.window); }
  std::string operator()(const Flatten&) const { return "flatten"; }
  std::string operator()(const FullyConnected& layer) const {
    return fmt::format("fully_connected{}", text(layer.activation));
  }
  std::string operator()(const Dropout& layer) const {
    return fmt::format("dropout keep {} stream {}", layer.keep_prob, layer.stream);
  }
  std::string operator()(const Relu&) const { return "relu"; }
};

struct CheckValues {
  void operator()(const Dropout& layer) const {
    if (layer.keep_prob > 0.0f && layer.keep_prob <= 1.0f) return;
    fail(ExitCode::kUsage, "layer {}: keep_prob is {}; give a probability above 0 and at most 1", layer.scope,
         layer.keep_prob);
  }
  void operator()(const Relu&) const {}
};

// The operations of each layer, with those of their gradients.
struct Operations {
  using List = std::vector<LayerOperation>;

  List operator()(const Conv2d& layer) const {
    return with_bias(
        {"Conv2D",
         {{"Conv2DBackpropInput", "Conv2DBackpropInput"}, {"Conv2DBackpropFilter", "Conv2DBackpropFilter", false}}},
        layer.activation);
  }
  List operator()(const MaxPool2d&) const { return {{"MaxPool", {{"MaxPoolGrad", "MaxPoolGrad"}}}}; }
  List operator()(const AvgPool2d&) const { return {{"AvgPool", {{"AvgPoolGrad", "AvgPoolGrad"}}}}; }
  List operator()(const Flatten&) const { return {{"Reshape", {{"Reshape", "Reshape"}}}}; }
  List operator()(const FullyConnected& layer) const {
    return with_bias({"MatMul", {{"MatMul", "MatMul"}, {"MatMul_1", "MatMul", false}}}, layer.activation);
  }
  List operator()(const Dropout&) const { return {{"RandomUniform", {}}, {"Mul", {{"Mul", "Mul"}}}}; }
  List operator()(const Relu&) const { return {relu()}; }

 private:
  // An activation is its layer's last operation, so the variables need its gradient too.
  static LayerOperation relu() { return {"Relu", {{"ReluGrad", "ReluGrad", false}}}; }
  static List with_bias(LayerOperation product, Activation activation) {
    List list = {std::move(product), {"BiasAdd", {{"BiasAddGrad", "BiasAddGrad", false}}}};
    if (activation == Activation::kRelu) list.push_back(relu());
    return list;
  }
};

}  // namespace

Shape Graph::output() const {
  assert(!layers.empty());
  return output_of(layers.back());
}

const std::string& scope_of(const Layer& layer) {
  return std::visit([](const auto& each) -> const std::string& { return each.scope; }, layer);
}

bool has_variables(const Layer& layer) {
  return std::visit(
      [](const auto& each) {
        return requires {
          each.weights;
        };
      },
      layer);
}

Shape output_of(const Layer& layer) {
  return std::visit([](const auto& each) { return each.output; }, layer);
}

void check_values(const ElementwiseLayer& layer) {
  std::visit(CheckValues{}, layer);
}

std::vector<LayerOperation> operations_of(const Layer& layer) {
  return std::visit(Operations{}, layer);
}

std::string describe(const Graph& graph) {
  std::string result = "input " + text(graph.input);
  for (const Layer& layer : graph.layers) {
    result += fmt::format("; {}: {} -> {}", scope_of(layer), std::visit(Describe{}, layer), text(output_of(layer)));
  }
  for (const Variable& variable : graph.variables) {
    result += fmt::format("; {}", variable.name);
    for (const std::int64_t dimension : variable.shape) result += fmt::format(" {}", dimension);
    result += fmt::format(" at {}", variable.range.offset);
  }
  return result;
}

}  // namespace distmnist
