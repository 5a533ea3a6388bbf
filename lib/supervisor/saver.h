// Saver: the checkpoints of one run folder. Keeps the newest few, and finds the newest valid one again.
// The choice is by the step in the name and by validity; the text file `checkpoint` and file times are never asked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/supervisor/model_snapshot.h"

namespace distmnist {

struct CheckpointFile {
  std::int64_t global_step = 0;  // from the name
  std::filesystem::path path;
};

// "model.ckpt-500.safetensors"
std::string checkpoint_name(std::int64_t global_step);

// The files of `folder` that are named like a checkpoint, highest step first; none where the folder cannot be read.
std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder);

struct RestoredCheckpoint {
  ModelSnapshot snapshot;
  std::filesystem::path path;
  std::vector<std::filesystem::path> broken;  // newer files that were skipped
};

// The newest valid checkpoint of `folder`, of whatever model; nothing where there is no file. Each broken file on the
// way is skipped with a warning that names it and the reason. Writes nothing, so it may look into a run that goes on.
// Error: kData where files exist and none is valid, or where the folder is there and cannot be looked into; kVersion,
// kResources like read_checkpoint.
std::optional<RestoredCheckpoint> read_newest_checkpoint(const std::filesystem::path& folder);

// What the user names as --log_dir of a command that only reads: a run folder, whose newest valid checkpoint it is, or
// one checkpoint file, which may have any name. Error: kData where there is none, with what lies there instead; else as
// read_newest_checkpoint and read_checkpoint.
RestoredCheckpoint read_named_run(const std::filesystem::path& name);

// One per run folder, whose lock the caller holds (RunFolder). One thread at a time.
class Saver {
 public:
  // Removes temporary files of writers that died. max_to_keep 0 keeps all; Error (kUsage) where it is negative.
  Saver(std::filesystem::path folder, int max_to_keep);

  // Writes model.ckpt-<global_step>.safetensors durably and returns its path; then updates the text file `checkpoint`
  // and removes what is beyond max_to_keep: checkpoints of earlier steps only, the file just written never. Trouble
  // with these two is a warning. Error like AtomicFile: then no file has changed.
  std::filesystem::path save(const ModelSnapshot& snapshot);

  // Like read_newest_checkpoint, and Error (kVersion) where the model or the kind of optimizer is not the flags'.
  std::optional<ModelSnapshot> restore_newest(const ModelIdentity& flags);

 private:
  std::vector<CheckpointFile> choose_kept(std::int64_t newest_step) const;  // newest first, at least the newest
  void remove_before(std::int64_t oldest_kept_step) const;

  std::filesystem::path folder_;
  int max_to_keep_;
  std::set<std::filesystem::path> broken_;  // found by restore_newest; they do not count as kept
};

}  // namespace distmnist
