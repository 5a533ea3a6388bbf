#include "models/models.h"

#include <array>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "lib/base/error.h"

namespace distmnist {
namespace {

struct Model {
  std::string_view name;
  Graph (*make)();
};

constexpr std::array kModels = {Model{"mnist_cnn", mnist_cnn}, Model{"softmax", softmax}, Model{"mlp", mlp}};

}  // namespace

Graph make_model(std::string_view name) {
  for (const Model& model : kModels) {
    if (model.name == name) return model.make();
  }
  fail(ExitCode::kUsage, "unknown model \"{}\"; use one of: {}", name, fmt::join(model_names(), ", "));
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Model& model : kModels) names.emplace_back(model.name);
  return names;
}

}  // namespace distmnist
