#include "lib/worker/device_placement.h"

#include <algorithm>
#include <cassert>
#include <ranges>
#include <string_view>

#include <fmt/core.h>

namespace distmnist {
namespace {

constexpr std::string_view kLoss = "SparseSoftmaxCrossEntropyWithLogits";

std::string line(std::string_view name, std::string_view type, const std::string& device) {
  return fmt::format("{}: ({}): {}", name, type, device);
}

// The lines for the operations that one device computes.
class TowerLines {
 public:
  TowerLines(std::string prefix, const DeviceSpec& device, std::vector<std::string>& lines)
      : prefix_(std::move(prefix)), device_(device.to_string()), lines_(lines) {}

  void add_step(const Graph& graph) {
    for (const Layer& layer : graph.layers) {
      for (const LayerOperation& each : operations_of(layer)) add(scope_of(layer), each.type, each.type);
    }
    add("loss", kLoss, kLoss);
    add(fmt::format("gradients/loss/{}_grad", kLoss), "Mul", "Mul");
    const auto first = std::ranges::find_if(graph.layers, has_variables);
    for (auto layer = graph.layers.end(); layer != first;) {
      --layer;
      add_gradients(*layer, layer == first);
    }
  }

 private:
  // Layers before the first layer with variables get no gradient.
  void add_gradients(const Layer& layer, bool is_first) {
    const std::vector<LayerOperation> operations = operations_of(layer);
    for (const LayerOperation& each : std::views::reverse(operations)) {
      for (const GradientOperation& gradient : each.gradients) {
        if (is_first && gradient.of_input) continue;
        add(fmt::format("gradients/{}/{}_grad", scope_of(layer), each.type), gradient.name, gradient.type);
      }
    }
  }

  void add(std::string_view scope, std::string_view name, std::string_view type) {
    lines_.push_back(line(fmt::format("{}{}/{}", prefix_, scope, name), type, device_));
  }

  std::string prefix_;
  std::string device_;
  std::vector<std::string>& lines_;
};

std::string ps_device(std::size_t task) {
  return fmt::format("/job:ps/replica:0/task:{}/device:CPU:0", task);
}

struct Piece {
  std::int64_t offset = 0;
  std::size_t ps = 0;
};

// The locations of the variable's pieces, in order.
std::vector<Piece> pieces_of(const Variable& variable, const PlacementPlan& plan) {
  std::vector<Piece> pieces;
  for (std::size_t ps = 0; ps < plan.size(); ++ps) {
    for (const NamedRange& piece : plan[ps]) {
      if (piece.name == variable.name) pieces.push_back({piece.range.offset, ps});
    }
  }
  std::ranges::sort(pieces, {}, &Piece::offset);
  return pieces;
}

void add_variable(const Variable& variable, const PlacementPlan& plan, const std::string& own_device,
                  std::vector<std::string>& lines) {
  const std::vector<Piece> pieces = pieces_of(variable, plan);
  if (plan.empty()) lines.push_back(line(variable.name, "VariableV2", own_device));
  if (pieces.size() == 1) lines.push_back(line(variable.name, "VariableV2", ps_device(pieces[0].ps)));
  for (std::size_t i = 0; pieces.size() > 1 && i < pieces.size(); ++i) {
    lines.push_back(line(fmt::format("{}/part_{}", variable.name, i), "VariableV2", ps_device(pieces[i].ps)));
  }
}

}  // namespace

std::vector<std::string> device_placement(const Graph& graph, const std::vector<DeviceSpec>& devices,
                                          const PlacementPlan& plan) {
  assert(!devices.empty());
  DeviceSpec host = devices.front();
  host.type = "CPU";
  host.index = 0;
  std::vector<std::string> lines = {line("global_step", "VariableV2", plan.empty() ? host.to_string() : ps_device(0))};
  for (const Variable& variable : graph.variables) {
    add_variable(variable, plan, devices.front().to_string(), lines);
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    TowerLines(devices.size() > 1 ? fmt::format("tower_{}/", i) : "", devices[i], lines).add_step(graph);
  }
  return lines;
}

}  // namespace distmnist
