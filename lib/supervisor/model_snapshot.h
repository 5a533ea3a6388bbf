// ModelSnapshot: a training run at one moment, whole: what a checkpoint holds. It knows no ps and no placement, so any
// cluster can resume it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/data_identity.h"
#include "lib/graph/graph.h"
#include "lib/optim/optimizer.h"
#include "lib/optim/stored_model.h"

namespace distmnist {

// What a checkpoint must have in common with the flags to be resumed.
struct ModelIdentity {
  std::string model;                // the name in the table of models, "mnist_cnn"
  std::string graph;                // describe(graph)
  std::vector<Variable> variables;  // name, shape and range; fan_in and fan_out are not kept
  OptimizerSpec optimizer;
};

struct ModelSnapshot : StoredModel {
  ModelIdentity identity;
  std::uint64_t seed = 0;            // with consumed_samples, the random state and the position in the data
  std::optional<DataIdentity> data;  // what it was trained on; files of earlier versions do not say
  std::string data_source;           // where the chief had it from: a folder, "mnist" or "synthetic"
  std::string tool_version;
  std::string config;  // the text of config.toml, for people
};

}  // namespace distmnist
