#include "lib/worker/training.h"

#include <chrono>
#include <memory>
#include <thread>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/worker/evaluation.h"
#include "lib/worker/exchange_loop.h"
#include "lib/worker/progress.h"
#include "lib/worker/resident_loop.h"

namespace distmnist {
namespace {

constexpr TimeMs kAwaitOthersMs = 10'000;  // how long the chief's last snapshot waits for the other workers
constexpr std::chrono::milliseconds kReopenPause{200};

ParameterSession& session_of(const TrainingParts& parts) {
  return std::visit([](auto* client) -> ParameterSession& { return *client; }, parts.client);
}

class Training {
 public:
  Training(const TrainingConfig& config, const TrainingParts& parts)
      : config_(config), parts_(parts), session_(session_of(parts)), progress_(config, parts) {
    if (const auto client = std::get_if<ParameterClient*>(&parts.client)) {
      loop_ = make_exchange_loop(config, parts, **client, progress_);
    } else {
      loop_ = make_resident_loop(config, parts, *std::get<ResidentClient*>(parts.client), progress_);
    }
  }

  ExitCode run() {
    try {
      return train_and_finish();
    } catch (const Error& error) {
      // All of this worker's work is done, so ps tasks that are gone for good are no reason to fail.
      if (error.code() == ExitCode::kLostPeer && closed_) {
        log_warning("{}; this worker is done and ends", error.what());
        return ExitCode::kOk;
      }
      // The signal's exit code means that everything is saved.
      const auto unsaved = parts_.supervisor.unsaved_since(progress_.step());
      if (error.code() != ExitCode::kInterrupted || !unsaved || progress_.step() <= opened_step_) throw;
      fail(ExitCode::kLostPeer, "{}, so the steps since {} are not saved", error.what(), *unsaved);
    }
  }

 private:
  ExitCode train_and_finish() {
    SessionInfo session = prepare();
    const bool already_done = session.global_step >= config_.train_steps;
    if (!session.ended) begin(session, already_done);
    while (!session.ended) {
      try {
        if (const auto signal = train()) return stop(*signal);
        return finish(already_done);
      } catch (const SessionLost& lost) {
        log_warning("{}; reopening the session at global_step {}", lost.what(), progress_.step());
        session = prepare();
        log_info("training continues at global_step {}", progress_.step());
      }
    }
    log_info("the run has ended at global_step {}; nothing left to do", session.global_step);
    return ExitCode::kOk;
  }

  void begin(const SessionInfo& session, bool already_done) {
    if (!already_done) return parts_.supervisor.keep_config();
    log_info(
        "global_step {} has reached --train_steps={}, so this only evaluates; start a new run with --fresh, or "
        "continue with a larger --train_steps",
        session.global_step, config_.train_steps);
  }

  // Opens the session, and retries within the recovery time while ps tasks go away and come back.
  SessionInfo prepare() {
    if (parts_.watchdog != nullptr) parts_.watchdog->rest();  // The disk and the ps tasks have limits of their own.
    PatientClock clock;
    const TimeMs began = clock.now();
    while (true) {
      try {
        const SessionInfo session = parts_.supervisor.prepare();
        progress_.set_step(session.global_step);
        opened_step_ = session.global_step;
        return session;
      } catch (const SessionLost& lost) {
        if (clock.now() - began >= config_.recovery_wait_ms) fail(ExitCode::kLostPeer, "{}; gave up", lost.what());
        std::this_thread::sleep_for(kReopenPause);
      }
    }
  }

  // Returns nothing after the last step, or the exit code of a signal that arrived.
  std::optional<ExitCode> train() {
    if (progress_.step() >= config_.train_steps) return std::nullopt;
    try {
      loop_->begin();
      while (progress_.step() < config_.train_steps) {
        if (const auto signal = parts_.stop_signal()) return signal;
        loop_->advance();
        parts_.supervisor.save_if_due(monotonic_ms());
      }
    } catch (const StopRequested&) {
      return parts_.stop_signal();
    }
    return std::nullopt;
  }

  ExitCode finish(bool already_done) {
    if (parts_.watchdog != nullptr) parts_.watchdog->rest();
    parts_.console.clear();
    if (!already_done) {
      log_info("trained until global_step {} at {:.1f} global steps/s", progress_.step(),
               parts_.console.steps_per_second());
      progress_.log_account();
    }
    if (parts_.supervisor.leads() && !session_.await_others(kAwaitOthersMs)) {
      log_warning("not all workers are done after {:.0f} s; the last snapshot is taken without the others",
                  kAwaitOthersMs / 1000.0);
    }
    progress_.set_step(session_.pull(parts_.executor));
    parts_.data.train.let_pages_go();  // Frees memory before the snapshot needs it.
    const Evaluation evaluation = evaluate_watched();
    parts_.data.test.let_pages_go();
    progress_.require_finite(evaluation.loss);  // The last updates have not been used by any step.
    // Also where there was nothing left to train: what the ps tasks held may not be on the disk yet.
    const std::optional<Error> unsaved = parts_.supervisor.save_now();
    print_closing_lines(evaluation.accuracy);
    session_.done();
    if (unsaved) throw *unsaved;
    return ExitCode::kOk;
  }

  Evaluation evaluate_watched() {
    Watchdog* const watchdog = parts_.watchdog;
    if (watchdog != nullptr) watchdog->begin(progress_.step());
    const auto after_batch = [watchdog] {
      if (watchdog != nullptr) watchdog->beat();
    };
    const Evaluation out =
        evaluate(parts_.executor, parts_.data.test, config_.batch_sizes.largest(), parts_.classes, after_batch);
    if (watchdog != nullptr) watchdog->rest();
    return out;
  }

  // Before this worker counts as done: the chief waits for all workers, so its lines come last. If a ps is lost after
  // them, the run may reach its end a second time.
  void print_closing_lines(double accuracy) {
    if (std::exchange(closed_, true)) {
      return log_info("the run has ended again: test accuracy {:.4f} at global_step {}", accuracy, progress_.step());
    }
    parts_.console.test_accuracy(accuracy);
    parts_.console.closing_line(accuracy, progress_.step());
  }

  ExitCode stop(ExitCode signal) {
    if (parts_.watchdog != nullptr) parts_.watchdog->rest();
    parts_.console.clear();
    log_info("stopped by a signal at global_step {}", progress_.step());
    progress_.log_account();
    parts_.data.train.let_pages_go();
    const std::optional<Error> unsaved = parts_.supervisor.save_now();
    session_.leave();
    if (unsaved) throw *unsaved;  // The signal's code would mean that everything was saved.
    return signal;
  }

  const TrainingConfig& config_;
  const TrainingParts& parts_;
  ParameterSession& session_;
  Progress progress_;
  std::unique_ptr<StepLoop> loop_;
  std::int64_t opened_step_ = 0;  // of the model when the session was opened
  bool closed_ = false;           // the closing lines have been printed
};

}  // namespace

ExitCode run_training(const TrainingConfig& config, const TrainingParts& parts) {
  try {
    return Training(config, parts).run();
  } catch (const Error& error) {
    if (error.code() == ExitCode::kDiverged) {
      session_of(parts).fail_run(error.what());
    } else {
      session_of(parts).leave();
    }
    throw;
  } catch (...) {
    // Tells the ps tasks, so that they do not wait for this worker's lease to run out.
    session_of(parts).leave();
    throw;
  }
}

}  // namespace distmnist
