#include "tests/bench/layer_work.h"

#include <variant>

#include "lib/backend/cpu/builtin/fused_convolution.h"
#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

namespace distmnist {
namespace {

// Multiply-adds of each of a layer's products (up to three): its output, its weights' gradient and its input's
// gradient.
struct Products {
  double direct = 0, executed = 0;
};

double winograd_products(const Conv2d& layer) {
  const cpu::WinogradShape shape{{.height = layer.input.height, .width = layer.input.width}};
  return static_cast<double>(cpu::kWinogradPoints * shape.tiles() * layer.input.channels * layer.output.channels);
}

Products products_of(const Graph& graph, std::size_t index, bool winograd) {
  const Layer& layer = graph.layers[index];
  if (const auto* dense = std::get_if<FullyConnected>(&layer)) {
    const auto products = static_cast<double>(dense->input.size() * dense->output.size());
    return {products, products};
  }
  const auto* convolution = std::get_if<Conv2d>(&layer);
  if (convolution == nullptr) return {};
  const Window& window = convolution->window;
  const auto direct =
      static_cast<double>(convolution->output.size() * convolution->input.channels * window.height * window.width);
  const auto* pool = index + 1 < graph.layers.size() ? std::get_if<MaxPool2d>(&graph.layers[index + 1]) : nullptr;
  const bool by_winograd = winograd && pool != nullptr && cpu::is_fusible(*pool) &&
                           cpu::fused_convolution_of(*convolution) == cpu::FusedConvolution::kWinograd;
  return {direct, by_winograd ? winograd_products(*convolution) : direct};
}

double bytes_of(std::int64_t floats) {
  return static_cast<double>(floats) * sizeof(float);
}

double variable_bytes(const Layer& layer) {
  const auto bytes = [](const auto& each) {
    if constexpr (requires { each.weights; }) {
      return bytes_of(each.weights.size + each.biases.size);
    } else {
      return 0.0;
    }
  };
  return std::visit(bytes, layer);
}

Shape input_of(const Layer& layer) {
  return std::visit([](const auto& each) { return each.input; }, layer);
}

}  // namespace

std::vector<LayerGroup> layer_groups(const Graph& graph, bool winograd) {
  std::vector<LayerGroup> groups;
  for (std::size_t i = 0; i < graph.layers.size(); ++i) {
    if (has_variables(graph.layers[i]) || groups.empty()) {
      groups.push_back({.name = scope_of(graph.layers[i]), .begin = i});
    } else {
      groups.back().name += " + " + scope_of(graph.layers[i]);
    }
    groups.back().end = i + 1;
  }
  bool first_trained = true;  // the gradient of its input is not needed
  for (LayerGroup& group : groups) {
    const Products products = products_of(graph, group.begin, winograd);
    const double passes = first_trained ? 2 : 3;
    const double input = bytes_of(input_of(graph.layers[group.begin]).size());
    const double output = bytes_of(output_of(graph.layers[group.end - 1]).size());
    // Forward: input, output; backward: the output's gradient, the input again, the input's gradient.
    group.work = {.direct_flops = 2 * passes * products.direct,
                  .executed_flops = 2 * passes * products.executed,
                  .sample_bytes = passes * input + 2 * output};
    group.step_bytes = 3 * variable_bytes(graph.layers[group.begin]);
    first_trained = first_trained && !has_variables(graph.layers[group.begin]);
  }
  return groups;
}

}  // namespace distmnist
