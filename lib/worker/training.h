// Training: the session and steps (StepLoop) of one replica, and what it prints, measures and saves along the way.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <variant>

#include "data/augment.h"
#include "data/image_set.h"
#include "lib/backend/backend.h"
#include "lib/base/error.h"
#include "lib/base/time_ms.h"
#include "lib/base/watchdog.h"
#include "lib/ps/client/parameter_client.h"
#include "lib/supervisor/background_metrics.h"
#include "lib/supervisor/supervisor.h"
#include "lib/worker/batch_size_schedule.h"
#include "lib/worker/console.h"
#include "lib/worker/resident_client.h"

namespace distmnist {

struct TrainingConfig {
  int task_index = 0;
  BatchSizeSchedule batch_sizes{50};
  std::int64_t train_steps = 5000;    // total global steps
  std::int64_t batches_per_step = 1;  // over all workers: gradients to aggregate in a synchronous run, else 1
  std::int64_t log_every = 100;
  std::uint64_t seed = 0;
  Augmentation augmentation = Augmentation::kNone;  // of training images; only if batches are made on the host
  OnNan on_nan = OnNan::kFail;  // kSkip: skips a batch whose loss is not finite and computes another
  TimeMs recovery_wait_ms = 120'000;
  double started_s = 0;  // monotonic_s() when the process started, for the log
};

// The parts the loop uses; all outlive it.
struct TrainingParts {
  const TrainAndTest& data;
  Executor& executor;  // max_batch_size at least the largest of batch_sizes
  std::int64_t classes = 10;
  // ParameterClient: the parameters are in another process or another part of this one. ResidentClient: they are on the
  // device that trains them.
  std::variant<ParameterClient*, ResidentClient*> client;
  Supervisor& supervisor;
  Console& console;
  BackgroundMetrics* metrics = nullptr;                  // null: no metrics file
  Watchdog* watchdog = nullptr;                          // of the computations; null: they are not watched
  std::function<std::optional<ExitCode>()> stop_signal;  // the exit code, once a signal has arrived
};

// Trains until global_step reaches train_steps, evaluates, prints the closing lines, reports done and returns kOk. On a
// signal, saves (if chief), leaves and returns the signal's code. Errors: kDiverged if a loss, gradient or parameter is
// not finite; kResources or kData if the last checkpoint cannot be written; and the errors of the client and the
// supervisor.
ExitCode run_training(const TrainingConfig& config, const TrainingParts& parts);

}  // namespace distmnist
