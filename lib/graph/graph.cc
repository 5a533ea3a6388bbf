#include "lib/graph/graph.h"

#include <cassert>

#include <fmt/core.h>

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
