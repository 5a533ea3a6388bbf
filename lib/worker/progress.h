// Progress: the current step of a replica, and what is printed, logged and recorded along the way.
#pragma once

#include <cstdint>

#include "lib/backend/backend.h"
#include "lib/supervisor/metrics_writer.h"
#include "lib/worker/accounting.h"
#include "lib/worker/training.h"

namespace distmnist {

class Progress {
 public:
  // Both arguments must outlive this object.
  Progress(const TrainingConfig& config, const TrainingParts& parts) : config_(config), parts_(parts) {}

  std::int64_t step() const { return step_; }  // global_step of the current parameters
  void set_step(std::int64_t step) { step_ = step; }
  Accounting& accounting() { return accounting_; }

  // Error (kDiverged) if the loss is not finite.
  void require_finite(double loss) const;
  // Call when the result of a step is available. The first call logs the time since the process started.
  void note_step_done();
  // Updates the progress line. At every log_every-th step, also prints the batch accuracy and adds a row to the
  // metrics; the last step always adds a row. `result` is that of step(), or the last known one between steps whose
  // lines are printed.
  void report(const StepResult& result, std::int64_t batch_size);
  // Logs the outcome of the steps and where the time went.
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
