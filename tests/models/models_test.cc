#include "models/models.h"

#include <algorithm>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

std::vector<std::string> variable_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Variable& variable : graph.variables) names.push_back(variable.name);
  return names;
}

std::vector<std::string> scopes(const Graph& graph) {
  std::vector<std::string> names;
  for (const Layer& layer : graph.layers) names.push_back(scope_of(layer));
  return names;
}

}  // namespace

TEST_CASE("mnist_cnn is the network of the tutorials") {
  const Graph graph = mnist_cnn();
  CHECK(graph.num_parameters == 1'625'606);
  CHECK(graph.input == Shape{1, 28, 28});
  CHECK(graph.output() == Shape{10, 1, 1});
  CHECK(scopes(graph) ==
        std::vector<std::string>{"conv1", "pool1", "conv2", "pool2", "flatten", "fully_connected", "pred"});
  CHECK(variable_names(graph) == std::vector<std::string>{"conv1/weights", "conv1/biases", "conv2/weights",
                                                          "conv2/biases", "fully_connected/weights",
                                                          "fully_connected/biases", "pred/weights", "pred/biases"});
  CHECK(std::get<Conv2d>(graph.layers[0]).output == Shape{32, 28, 28});
  CHECK(std::get<MaxPool2d>(graph.layers[1]).output == Shape{32, 14, 14});
  CHECK(std::get<Conv2d>(graph.layers[2]).output == Shape{64, 14, 14});
  CHECK(std::get<Flatten>(graph.layers[4]).output == Shape{3136, 1, 1});
  CHECK(std::get<FullyConnected>(graph.layers[5]).activation == Activation::kRelu);
  CHECK(std::get<FullyConnected>(graph.layers[6]).activation == Activation::kNone);
}

TEST_CASE("the small models have the documented layers") {
  CHECK(softmax().num_parameters == 784 * 10 + 10);
  CHECK(mlp().num_parameters == 784 * 100 + 100 + 100 * 10 + 10);
}

TEST_CASE("every name makes a model with ten classes and 784 inputs") {
  CHECK(model_names().size() == 3);
  for (const std::string& name : model_names()) {
    const Graph graph = make_model(name);
    CHECK(graph.input.size() == 784);
    CHECK(graph.output() == Shape{10, 1, 1});
  }
  CHECK(describe(make_model("mnist_cnn")) == describe(mnist_cnn()));
}

TEST_CASE("an unknown model is refused with a list of the known names") {
  CHECK(fails_with(ExitCode::kUsage, "unknown model \"lenet\"; use one of: mnist_cnn, softmax, mlp",
                   [] { make_model("lenet"); }));
}
