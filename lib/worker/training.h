// The training of one replica: its session, its steps (StepLoop), and what is printed, measured and saved on the way.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <variant>

#include "data/augment.h"
#include "data/image_set.h"
#include "lib/backend/backend.h"
#include "lib/base/time_ms.h"
#include "lib/base/error.h"
#include "lib/ps/client/parameter_client.h"
#include "lib/supervisor/metrics_writer.h"
#include "lib/supervisor/supervisor.h"
#include "lib/worker/batch_size_schedule.h"
#include "lib/worker/console.h"
#include "lib/worker/resident_client.h"

namespace distmnist {

struct TrainingConfig {
  int task_index = 0;
  bool chief = false;
  BatchSizeSchedule batch_sizes{50};
  std::int64_t train_steps = 5000;    // global steps in all
  std::int64_t batches_per_step = 1;  // of all workers together: gradients to aggregate in a synchronous run, else 1
  std::int64_t log_every = 100;
  std::uint64_t seed = 0;
  Augmentation augmentation = Augmentation::kNone;  // of training images; only where each batch is made on the host
  OnNan on_nan = OnNan::kFail;  // kSkip: a batch whose loss is not finite does not count, and another is computed
  TimeMs recovery_wait_ms = 120'000;
  double started_s = 0;  // monotonic_s() when the process started, for the log
};

// What the loop works with; everything outlives it.
struct TrainingParts {
  const TrainAndTest& data;
  Executor& executor;  // max_batch_size at least the largest of batch_sizes
  std::int64_t classes = 10;
  // Where the parameters are: elsewhere, if only in another part of this process, or on the device that trains them.
  std::variant<ParameterClient*, ResidentClient*> client;
  Supervisor& supervisor;
  Console& console;
  MetricsWriter* metrics = nullptr;                      // null: no file
  std::function<std::optional<ExitCode>()> stop_signal;  // the code to end with, once a signal has come
};

// Trains until global_step reaches train_steps, evaluates, prints the closing lines and reports done: kOk. After a
// signal: saves (as the chief), leaves, and returns the signal's code. Errors: kDiverged for a loss, gradient or
// parameter that is not finite, kResources or kData where the last checkpoint cannot be written, and what client and
// supervisor throw.
ExitCode run_training(const TrainingConfig& config, const TrainingParts& parts);

}  // namespace distmnist
