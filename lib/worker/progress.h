// Progress: how far a replica is, and what is printed, logged and written about it on the way.
#pragma once

#include <cstdint>

#include "lib/backend/backend.h"
#include "lib/supervisor/metrics_writer.h"
#include "lib/worker/accounting.h"
#include "lib/worker/training.h"

namespace distmnist {

class Progress {
 public:
  // Both outlive it.
  Progress(const TrainingConfig& config, const TrainingParts& parts) : config_(config), parts_(parts) {}

  std::int64_t step() const { return step_; }  // global_step of the parameters at hand
  void set_step(std::int64_t step) { step_ = step; }
  Accounting& accounting() { return accounting_; }

  // Error (kDiverged) for a loss that is not a finite number.
  void require_finite(double loss) const;
  // A step's result is there: the first time, the log says how long that took since the process started.
  void note_step_done();
  // The result of step(), or, between the steps whose lines are printed, the last one known: updates the progress line
  // and, at every log_every-th step, prints the batch's accuracy and adds a row to the metrics. The last step has a
  // row, too.
  void report(const StepResult& result, std::int64_t batch_size);
  // What became of the steps and of the time, to the log.
  void log_account() const;

 private:
  MetricsRow metrics_row(double loss, double accuracy) const;

  const TrainingConfig& config_;
  const TrainingParts& parts_;
  Accounting accounting_;
  std::int64_t step_ = 0;
  bool step_done_ = false;
};

}  // namespace distmnist
