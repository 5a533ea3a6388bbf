// The work in the layers of a graph: what their times are held against.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/graph/graph.h"

namespace distmnist {

// Of one sample's forward and backward pass.
struct Work {
  double direct_flops = 0;  // of the direct algorithm, a multiply-add being two
  double executed_flops =
      0;  // of the products that are made: fewer by Winograd's algorithm, its transformations left out
  double sample_bytes = 0;  // the least that has to be moved: activations and their gradients, once each way
};

// A layer with variables and those without that follow it, up to the next one that has some: our own kernels fuse them.
struct LayerGroup {
  std::string name;                // "conv1 + pool1"
  std::size_t begin = 0, end = 0;  // in Graph::layers
  Work work = {};
  double step_bytes = 0;  // whatever the batch: parameters read in both passes, their gradients written
};

// With `winograd` convolutions are computed by Winograd's algorithm where the cpu backend has it, else directly:
// oneDNN's algorithm, which it does not tell, is taken for that.
std::vector<LayerGroup> layer_groups(const Graph& graph, bool winograd);

}  // namespace distmnist
