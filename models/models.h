// Models: the built-in models, in one table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/graph/graph.h"

namespace distmnist {

Graph mnist_cnn();  // the network of the TF-Slim MNIST tutorials: 1,625,606 parameters
Graph softmax();    // one fully connected layer 784 -> 10, for teaching and tests
Graph mlp();        // 784 -> 100 -> 10, for teaching and tests

// The model with this name. Error (kUsage) lists the known names.
Graph make_model(std::string_view name);
std::vector<std::string> model_names();

}  // namespace distmnist
