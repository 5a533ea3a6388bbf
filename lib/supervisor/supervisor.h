// Supervisor: brings the model up before training and saves it during and after. The chief restores or initialises and
// saves; the others wait for it. Any worker may become the chief.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/error.h"
#include "lib/base/time_ms.h"
#include "lib/base/wait_limits.h"
#include "lib/graph/graph.h"
#include "lib/ps/client/parameter_client.h"
#include "lib/supervisor/background_saver.h"
#include "lib/supervisor/run_folder.h"
#include "lib/supervisor/saver.h"

namespace distmnist {

inline constexpr TimeMs kSnapshotAgainMs = 10'000;

struct SupervisorConfig {
  // The folder for checkpoints; empty: none are written.
  std::filesystem::path log_dir;
  ModelIdentity identity;
  DataIdentity data;
  std::string data_source;  // as in ModelSnapshot
  std::uint64_t seed = 0;
  std::uint64_t run_id = 0;  // of a run that starts afresh
  std::string config;        // the text of config.toml, kept in the checkpoints
  TimeMs save_every_ms = 600'000;
  int max_to_keep = 5;
  WaitLimits limits = {};
  std::function<bool()> stop_requested = {};  // polled while waiting for the disk
};

class Supervisor {
 public:
  // `graph`, `session` and `folder` outlive it. `folder` is this task's, null where no files are wanted.
  Supervisor(SupervisorConfig config, const Graph& graph, ParameterSession& session, const RunFolder* folder);

  // Opens the session and, as the chief, makes sure that there is a model: the one the ps tasks hold, else the newest
  // valid checkpoint, else fresh start values. A checkpoint of other data gets a warning; Error (kData) where images of
  // that data have another size or other classes. Errors of session and Saver, and of RunFolder if the chief's folder
  // cannot be used.
  SessionInfo prepare();
  // Whether this worker is the chief, since the last prepare().
  bool leads() const { return leads_; }
  // Whether this worker can be the chief of a run that lacks one: it can lock log_dir. A worker that was not there
  // while the run had a model also needs a checkpoint in it. Holds the lock from then on, until prepare() finds another
  // chief.
  bool can_lead(bool was_there);

  // Writes config.toml where there is a folder. Call once the flags have proved to fit the model and training goes on:
  // a run that is refused leaves the old file as it was. Errors like RunFolder::write_config.
  void keep_config() const;

  // As the chief with a folder: saves in the background when save_every_ms have passed since the last time, or
  // kSnapshotAgainMs after an attempt for which the ps tasks answered too slowly. Error
  // (kDiverged), here and below, where a parameter or a number of a slot is not finite: such a model is never
  // saved.
  void save_if_due(TimeMs now);
  // As the chief with a folder: saves now and waits for the disk. The error of a save that failed; the older
  // checkpoints are still there then. Error (kLostPeer) where the ps tasks have answered too slowly for
  // recovery_wait_ms.
  std::optional<Error> save_now();

  // What the newest checkpoint of this run is, if this supervisor saves and has saved nothing as new as `step`:
  // "global_step 500", or "the newest checkpoint" if this process has written and restored none.
  std::optional<std::string> unsaved_since(std::int64_t step) const;

 private:
  bool holds_log_dir() const;
  void lead();
  void follow();
  StoredModel initial_model();
  void compare_data(const ModelSnapshot& restored);
  // Nothing if the ps tasks answer too slowly.
  std::optional<ModelSnapshot> take_snapshot();

  SupervisorConfig config_;
  const Graph& graph_;
  ParameterSession& session_;
  const RunFolder* folder_;
  bool leads_ = false;
  std::optional<RunFolder> chief_folder_;        // the lock on log_dir, if `folder_` is a different one
  std::unique_ptr<BackgroundSaver> background_;  // null where nothing is saved
  TimeMs last_save_ms_ = 0;
  std::int64_t restored_step_ = -1;
  bool was_opened_ = false;   // the session
  bool cannot_lead_ = false;  // this has been logged
  bool warned_of_data_ = false;
};

}  // namespace distmnist
