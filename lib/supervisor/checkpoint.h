// A checkpoint: one ModelSnapshot in one safetensors file. Format: docs/checkpoint.md.
#pragma once

#include <filesystem>
#include <string>

#include "lib/supervisor/model_snapshot.h"

namespace distmnist {

// Writes the file atomically and durably. Errors like AtomicFile.
void write_checkpoint(const std::filesystem::path& path, const ModelSnapshot& snapshot);

// The first tensor, as the file names it, with a number that is not finite; empty where all are. No checkpoint has such
// numbers.
std::string not_finite_tensor(const ModelSnapshot& snapshot);

// Reads a file, every byte of it verified. Error: kData (missing, damaged, truncated, of another program, with a number
// that is not finite: what is wrong and where), kVersion (a later format), kResources.
ModelSnapshot read_checkpoint(const std::filesystem::path& path);

// Error (kVersion) with both sides and what to do, where `snapshot` (read from `path`) has another model, graph,
// variable or kind of optimizer than the flags ask for. A learning rate and its like may differ: the flags' are the
// ones to go on with.
void require_same_model(const ModelSnapshot& snapshot, const ModelIdentity& flags, const std::filesystem::path& path);

}  // namespace distmnist
