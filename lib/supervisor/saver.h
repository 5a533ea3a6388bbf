// Saver: the checkpoints of one run folder. Keeps the newest few and finds the newest valid one.
// It uses the step in the file name and the validity of the file, never the text file `checkpoint` or file times.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
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

// The files in `folder` with checkpoint names, highest step first; none if the folder cannot be read.
std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder);

struct RestoredCheckpoint {
  ModelSnapshot snapshot;
  std::filesystem::path path;
  std::vector<std::filesystem::path> broken;  // newer files that were skipped
};

// The newest valid checkpoint in `folder`, of any model; nothing if there are no files. Skips each newer broken file
// with a warning that gives its name and the reason. Writes nothing, so it is safe on the folder of a running job.
// Error: kData if files exist but none is valid, or if the folder exists but cannot be read; kVersion and kResources as
// in read_checkpoint.
std::optional<RestoredCheckpoint> read_newest_checkpoint(const std::filesystem::path& folder);

// Resolves the --log_dir of a read-only command: the newest valid checkpoint of a run folder, or one checkpoint file,
// which may have any name. Error: kData if there is none, with what is there instead; otherwise those of
// read_newest_checkpoint and read_checkpoint.
RestoredCheckpoint read_named_run(const std::filesystem::path& name);

// One per run folder. The caller holds the folder's lock (RunFolder). Not thread-safe.
class Saver {
 public:
  // Removes temporary files of writers that died. max_to_keep 0 keeps all checkpoints; Error (kUsage) if it is
  // negative.
  Saver(std::filesystem::path folder, int max_to_keep);

  // Durably writes model.ckpt-<global_step>.safetensors, calls `saved` with its path, and returns the path. Before that
  // it updates the text file `checkpoint` and removes checkpoints beyond max_to_keep, but only those of earlier steps,
  // never the file just written. A failure of these two is only a warning. Errors of AtomicFile; then no file has
  // changed.
  std::filesystem::path save(const ModelSnapshot& snapshot,
                             const std::function<void(const std::filesystem::path&)>& saved = {});

  const std::filesystem::path& folder() const { return folder_; }

  // Like read_newest_checkpoint, but Error (kVersion) if the model or the kind of optimizer does not match the flags.
  std::optional<ModelSnapshot> restore_newest(const ModelIdentity& flags);

 private:
  std::vector<CheckpointFile> choose_kept(std::int64_t newest_step) const;  // newest first, at least one
  void remove_before(std::int64_t oldest_kept_step) const;

  std::filesystem::path folder_;
  int max_to_keep_;
  std::set<std::filesystem::path> broken_;  // found by restore_newest; they do not count as kept
};

}  // namespace distmnist
