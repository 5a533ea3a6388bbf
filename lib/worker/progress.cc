#include "lib/worker/progress.h"

#include <chrono>
#include <cmath>

#include "lib/base/clock.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

void Progress::require_finite(double loss) const {
  if (std::isfinite(loss)) return;
  // fmt prints the sign of a NaN, which is meaningless.
  fail(ExitCode::kDiverged, "the loss is {} at global_step {}; lower --learning_rate",
       std::isnan(loss) ? "nan" : "infinite", step_);
}

void Progress::note_step_done() {
  if (step_done_) return;
  step_done_ = true;
  log_info("first step {:.2f} s after the start", monotonic_s() - config_.started_s);
}

void Progress::report(const StepResult& result, std::int64_t batch_size) {
  const double accuracy = static_cast<double>(result.correct) / static_cast<double>(batch_size);
  parts_.console.progress(step_, result.loss);
  const bool due = step_ % config_.log_every == 0;
  if (due) parts_.console.batch_accuracy(step_, accuracy);
  if (!due && step_ < config_.train_steps) return;
  if (parts_.metrics != nullptr) parts_.metrics->append(metrics_row(result.loss, accuracy));
}

MetricsRow Progress::metrics_row(double loss, double accuracy) const {
  const Account& account = accounting_.totals();
  return {.wall_time = wall_time_s(),
          .global_step = step_,
          .worker = config_.task_index,
          .loss = loss,
          .accuracy = accuracy,
          .steps_per_second = parts_.console.steps_per_second(),
          .accepted = account.accepted,
          .dropped = account.dropped,
          .staleness_mean = account.staleness_mean(),
          .staleness_max = account.staleness_max,
          .compute_s = account.compute_s,
          .push_s = account.push_s,
          .wait_s = account.wait_s,
          .pull_s = account.pull_s,
          .sent_bytes = account.sent_bytes,
          .received_bytes = account.received_bytes};
}

void Progress::log_account() const {
  const RunRate rate{parts_.console.steps_per_second(), config_.batches_per_step};
  for (const std::string& line : account_lines(accounting_.totals(), rate)) log_info("{}", line);
}

}  // namespace distmnist
