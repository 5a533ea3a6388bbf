// RunFolder: the folder of one task of one run, with its lock.
#pragma once

#include <filesystem>
#include <string_view>

#include "lib/base/file.h"
#include "lib/cluster/cluster_spec.h"

namespace distmnist {

// The chief's folder is log_dir itself; every other task has its own in it: log_dir/worker_1, log_dir/ps_0.
std::filesystem::path task_folder(const std::filesystem::path& log_dir, const TaskId& task, bool is_chief);

// True for the names that a run writes: config.toml, metrics.csv (and metrics.old-*.csv), report.html, checkpoint,
// model.ckpt-*.safetensors and events.out.tfevents.*.
bool is_run_file(std::string_view name);

// Owns the folder while alive: two processes cannot hold it at once, and a killed one does not hold it any longer. The
// lock is flock() on the file `.lock` in it, which stays there.
class RunFolder {
 public:
  // Creates the folder with its parents where it is missing. With `fresh`, the files of an old run (is_run_file) move
  // into <path>/old-1, old-2, ...: nothing is deleted, other files and the folders of other tasks are not touched.
  // Error: kConflict (another process holds it), kUsage (it is a file, it cannot be created or written) or kResources;
  // each with the path and the system's reason.
  RunFolder(std::filesystem::path path, bool fresh);

  const std::filesystem::path& path() const { return path_; }

  // Replaces config.toml. Errors like AtomicFile.
  void write_config(std::string_view text) const;

 private:
  std::filesystem::path path_;
  FileDescriptor lock_;
};

}  // namespace distmnist
