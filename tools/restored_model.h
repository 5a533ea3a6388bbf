// Restored model: the newest checkpoint of a run, or a given one, ready to predict.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "data/data_identity.h"
#include "lib/backend/backend.h"
#include "lib/graph/graph.h"
#include "tools/device.h"
#include "tools/flags.h"

namespace distmnist {

struct RestoredModel {
  Graph graph;
  std::unique_ptr<Executor> executor;
  std::int64_t global_step = 0;
  std::filesystem::path path;  // of the checkpoint
  // The data it was trained on, as in ModelSnapshot.
  std::optional<DataIdentity> data;
  std::string data_source;
};

// Loads from --log_dir, which may also name one checkpoint file. Error: kData if there is no valid checkpoint, kVersion
// if this program does not have its model. `devices` compute the model and must outlive it.
RestoredModel restore_model(const Flags& flags, Devices& devices, std::int64_t max_batch_size);

}  // namespace distmnist
