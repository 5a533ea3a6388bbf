// The models, in one explicit table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/graph/graph.h"

namespace distmnist {

Graph mnist_cnn();  // the network of the TF-Slim MNIST tutorials: 1,625,606 parameters
Graph softmax();    // one fully connected layer 784 -> 10, for teaching and tests
Graph mlp();        // 784 -> 100 -> 10, for teaching and tests

// The model called `name`. Error (kUsage) names the known ones.
Graph make_model(std::string_view name);
std::vector<std::string> model_names();

}  // namespace distmnist
