// RunFolder: the locked folder of one task of a run.
#pragma once

#include <filesystem>
#include <string_view>

#include "lib/base/file.h"
#include "lib/cluster/cluster_spec.h"

namespace distmnist {

// The chief's folder is log_dir itself. Every other task has a subfolder: log_dir/worker_1, log_dir/ps_0.
std::filesystem::path task_folder(const std::filesystem::path& log_dir, const TaskId& task, bool is_chief);

// True for the names of files that a run writes: config.toml, metrics.csv (and metrics.old-*.csv), report.html,
// checkpoint, model.ckpt-*.safetensors and events.out.tfevents.*.
bool is_run_file(std::string_view name);

// Holds the folder's lock for its lifetime: two processes cannot hold it at once, and a killed process no longer holds
// it. The lock is flock() on the file `.lock` in the folder, which is not removed.
class RunFolder {
 public:
  // Creates the folder and its parents if missing. With `fresh`, moves the files of an old run (is_run_file) into
  // <path>/old-1, old-2, ...: nothing is deleted, and other files and the folders of other tasks are not touched.
  // Error: kConflict (another process holds it), kUsage (it is a file, or cannot be created or written) or kResources;
  // each with the path and the system's reason.
  RunFolder(std::filesystem::path path, bool fresh);

  const std::filesystem::path& path() const { return path_; }

  // Replaces config.toml. Same errors as AtomicFile.
  void write_config(std::string_view text) const;

 private:
  std::filesystem::path path_;
  FileDescriptor lock_;
};

}  // namespace distmnist
