// The work in the layers of a graph, with which benchmarks compare their times.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/graph/graph.h"

namespace distmnist {

// The work of one sample's forward and backward pass.
struct Work {
  double direct_flops = 0;    // for the direct algorithm; a multiply-add counts as two
  double executed_flops = 0;  // of the products computed: fewer with Winograd, whose transformations do not count
  double sample_bytes = 0;    // minimum traffic: activations and their gradients, once in each direction
};

// A layer with variables and the layers without variables after it. The built-in kernels fuse them.
struct LayerGroup {
  std::string name;                // "conv1 + pool1"
  std::size_t begin = 0, end = 0;  // in Graph::layers
  Work work = {};
  double step_bytes = 0;  // independent of the batch: parameters read in both passes, and their gradients written
};

// With `winograd`, convolutions that the cpu backend computes by Winograd's algorithm are counted as such, otherwise as
// direct ones. oneDNN does not report its algorithm and is counted as direct.
std::vector<LayerGroup> layer_groups(const Graph& graph, bool winograd);

}  // namespace distmnist
