#include "lib/worker/training.h"

#include <chrono>
#include <cmath>
#include <thread>

#include "data/dataset.h"
#include "lib/base/log.h"
#include "lib/worker/accounting.h"
#include "lib/worker/evaluation.h"

namespace distmnist {
namespace {

constexpr TimeMs kAwaitOthersMs = 10'000;  // how long the chief's last snapshot waits for the other workers
constexpr int kPrefetchedBatches = 2;
constexpr std::chrono::milliseconds kReopenPause{200};

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class Training {
 public:
  Training(const TrainingConfig& config, const TrainingParts& parts) : config_(config), parts_(parts) {
    load_ = [this](Range range, std::span<const float> values) { parts_.executor.load(range, values); };
    push_ = [this](Range range) { parts_.client.push(range); };
  }

  ExitCode run() {
    SessionInfo session = prepare();
    const bool already_done = session.global_step >= config_.train_steps;
    if (!session.ended) begin(session, already_done);
    while (!session.ended) {
      try {
        if (const auto signal = train()) return stop(*signal);
        return finish(already_done);
      } catch (const SessionLost& lost) {
        log_warning("{}; at global_step {}, opening the session again", lost.what(), step_);
        session = prepare();
        log_info("training goes on at global_step {}", step_);
      }
    }
    log_info("the run has ended at global_step {}; nothing left to do", session.global_step);
    return ExitCode::kOk;
  }

 private:
  void begin(const SessionInfo& session, bool already_done) {
    if (!already_done) return parts_.supervisor.keep_config();
    log_info(
        "global_step {} has reached --train_steps={}: only evaluating; --fresh starts a new run, a larger "
        "--train_steps goes on",
        session.global_step, config_.train_steps);
  }

  // Opens the session, again and again while ps tasks come and go, within the recovery time.
  SessionInfo prepare() {
    const TimeMs began = monotonic_ms();
    while (true) {
      try {
        const SessionInfo session = parts_.supervisor.prepare();
        step_ = session.global_step;
        return session;
      } catch (const SessionLost& lost) {
        if (monotonic_ms() - began >= config_.recovery_wait_ms) fail(ExitCode::kLostPeer, "{}; gave up", lost.what());
        std::this_thread::sleep_for(kReopenPause);
      }
    }
  }

  // Until the last step (nothing), or the code of the signal that came.
  std::optional<ExitCode> train() {
    if (step_ >= config_.train_steps) return std::nullopt;
    try {
      const Turn first = parts_.client.join(load_);
      step_ = first.global_step;
      std::int64_t position = first.consumed_samples;
      std::int64_t batch_size = 0;
      BatchSourcePtr batches;
      TrainBatch next;
      while (step_ < config_.train_steps) {
        if (const auto signal = parts_.stop_signal()) return signal;
        if (batch_size != config_.batch_sizes.at(step_)) {
          batch_size = config_.batch_sizes.at(step_);
          batches = batches_from(position, batch_size);  // Those made ahead with the old size go, and are made anew.
        }
        batches->next(next);
        position = next.first_sample + next.size;
        const StepResult result = step(next);
        report(result, next.size);
        parts_.supervisor.save_if_due(monotonic_ms());
      }
    } catch (const StopRequested&) {
      return parts_.stop_signal();
    }
    return std::nullopt;
  }

  BatchSourcePtr batches_from(std::int64_t first_sample, std::int64_t batch_size) const {
    const auto worker = static_cast<std::uint64_t>(config_.task_index);
    return prefetch(batch(repeat(shuffle(slices(parts_.data.train), config_.seed, worker)), batch_size, first_sample),
                    kPrefetchedBatches);
  }

  StepResult step(const TrainBatch& next) {
    const Batch batch{next.size, next.images, next.labels, static_cast<std::uint64_t>(next.first_sample)};
    accounting_.begin_step(monotonic_s(), parts_.client.costs());
    parts_.client.begin_push(parts_.executor.gradients(), step_, next.size);
    const StepResult result = parts_.executor.train_step(batch, push_);
    require_finite(result.loss);
    const Turn turn = parts_.client.finish_push(load_);
    accounting_.end_step(turn, monotonic_s(), parts_.client.costs());
    step_ = turn.global_step;
    if (!first_step_done_) {
      first_step_done_ = true;
      log_info("first step {:.2f} s after the start", monotonic_s() - config_.started_s);
    }
    return result;
  }

  void require_finite(double loss) const {
    if (std::isfinite(loss)) return;
    // fmt prints the sign of a nan, which means nothing.
    fail(ExitCode::kDiverged, "the loss is {} at global_step {}; lower --learning_rate",
         std::isnan(loss) ? "nan" : "infinite", step_);
  }

  void report(const StepResult& result, std::int64_t batch_size) {
    const double accuracy = static_cast<double>(result.correct) / static_cast<double>(batch_size);
    parts_.console.progress(step_, result.loss);
    if (step_ % config_.log_every != 0) return;
    parts_.console.batch_accuracy(step_, accuracy);
    if (parts_.metrics != nullptr) parts_.metrics->append(metrics_row(result.loss, accuracy));
  }

  MetricsRow metrics_row(double loss, double accuracy) const {
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

  void log_account() const {
    const RunRate rate{parts_.console.steps_per_second(), config_.batches_per_step};
    for (const std::string& line : account_lines(accounting_.totals(), rate)) log_info("{}", line);
  }

  ExitCode finish(bool already_done) {
    parts_.console.clear();
    if (!already_done) {
      log_info("trained until global_step {} at {:.1f} global steps/s", step_, parts_.console.steps_per_second());
      log_account();
    }
    if (config_.chief && !parts_.client.await_others(kAwaitOthersMs)) {
      log_warning("not all workers are done after {:.0f} s; the last snapshot is taken without them",
                  kAwaitOthersMs / 1000.0);
    }
    step_ = parts_.client.pull(load_);
    const Evaluation evaluation =
        evaluate(parts_.executor, parts_.data.test, config_.batch_sizes.largest(), parts_.classes);
    require_finite(evaluation.loss);  // The last updates may have ruined what no step has looked at since.
    parts_.console.test_accuracy(evaluation.accuracy);
    const std::optional<Error> unsaved = already_done ? std::nullopt : parts_.supervisor.save_now();
    // Before this worker counts as done: the chief's closing line, after all are done, is the last one.
    parts_.console.closing_line(evaluation.accuracy, step_);
    parts_.client.done();
    if (unsaved) throw *unsaved;
    return ExitCode::kOk;
  }

  ExitCode stop(ExitCode signal) {
    parts_.console.clear();
    log_info("stopped by a signal at global_step {}", step_);
    log_account();
    const std::optional<Error> unsaved = parts_.supervisor.save_now();
    parts_.client.leave();
    if (unsaved) throw *unsaved;  // The signal's code would say that everything is saved.
    return signal;
  }

  const TrainingConfig& config_;
  const TrainingParts& parts_;
  ParameterSink load_;
  GradientReady push_;
  Accounting accounting_;
  std::int64_t step_ = 0;
  bool first_step_done_ = false;
};

}  // namespace

ExitCode run_training(const TrainingConfig& config, const TrainingParts& parts) {
  try {
    return Training(config, parts).run();
  } catch (...) {
    // Said to the ps tasks, so that they do not take this process for a silent one until its lease runs out.
    parts.client.leave();
    throw;
  }
}

}  // namespace distmnist
