// Supervisor: brings the model up before training and saves it during and after. The chief restores or initialises and
// saves; the others wait for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/error.h"
#include "lib/base/time_ms.h"
#include "lib/graph/graph.h"
#include "lib/ps/client/parameter_client.h"
#include "lib/supervisor/background_saver.h"
#include "lib/supervisor/run_folder.h"
#include "lib/supervisor/saver.h"

namespace distmnist {

struct SupervisorConfig {
  bool chief = false;
  ModelIdentity identity;
  DataIdentity data;
  std::string data_source;  // as in ModelSnapshot
  std::uint64_t seed = 0;
  std::uint64_t run_id = 0;
  std::string config;  // the text of config.toml, kept in the checkpoints
  TimeMs save_every_ms = 600'000;
  int max_to_keep = 5;
};

class Supervisor {
 public:
  // `graph`, `session` and `folder` outlive it. `folder` is null where no files are wanted; checkpoints are only
  // written to the chief's.
  Supervisor(SupervisorConfig config, const Graph& graph, ParameterSession& session, const RunFolder* folder);

  // Opens the session and, as the chief, makes sure that there is a model: the one the ps tasks hold, else the newest
  // valid checkpoint, else fresh start values. A checkpoint of other data gets a warning; Error (kData) where images of
  // that data have another size or other classes. Errors of session and Saver.
  SessionInfo prepare();

  // Writes config.toml where there is a folder. Call once the flags have proved to fit the model and training goes on:
  // a run that is refused leaves the old file as it was. Errors like RunFolder::write_config.
  void keep_config() const;

  // As the chief with a folder: saves in the background when save_every_ms have passed since the last time. Error
  // (kDiverged), here and below, where a parameter or a number of a slot is not finite: such a model is never
  // saved.
  void save_if_due(TimeMs now);
  // As the chief with a folder: saves now and waits for the disk. The error of a save that failed; the older
  // checkpoints are still there then.
  std::optional<Error> save_now();

 private:
  StoredModel initial_model();
  void compare_data(const ModelSnapshot& restored);
  ModelSnapshot take_snapshot();

  SupervisorConfig config_;
  const Graph& graph_;
  ParameterSession& session_;
  const RunFolder* folder_;
  std::unique_ptr<Saver> saver_;  // null where nothing is saved
  std::unique_ptr<BackgroundSaver> background_;
  TimeMs last_save_ms_ = 0;
  std::int64_t restored_step_ = -1;
  bool warned_of_data_ = false;
};

}  // namespace distmnist
