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

 private:
  void begin(const SessionInfo& session, bool already_done) {
    if (!already_done) return parts_.supervisor.keep_config();
    log_info(
        "global_step {} has reached --train_steps={}, so this only evaluates; start a new run with --fresh, or "
        "continue with a larger --train_steps",
        session.global_step, config_.train_steps);
  }

  // Opens the session, and retries within the recovery time while ps tasks go away and come back.
  SessionInfo prepare() {
    const TimeMs began = monotonic_ms();
    while (true) {
      try {
        const SessionInfo session = parts_.supervisor.prepare();
        progress_.set_step(session.global_step);
        return session;
      } catch (const SessionLost& lost) {
        if (monotonic_ms() - began >= config_.recovery_wait_ms) fail(ExitCode::kLostPeer, "{}; gave up", lost.what());
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
    parts_.console.clear();
    if (!already_done) {
      log_info("trained until global_step {} at {:.1f} global steps/s", progress_.step(),
               parts_.console.steps_per_second());
      progress_.log_account();
    }
    if (config_.chief && !session_.await_others(kAwaitOthersMs)) {
      log_warning("not all workers are done after {:.0f} s; the last snapshot is taken without the others",
                  kAwaitOthersMs / 1000.0);
    }
    progress_.set_step(session_.pull(parts_.executor));
    parts_.data.train.let_pages_go();  // Frees memory before the snapshot needs it.
    const Evaluation evaluation =
        evaluate(parts_.executor, parts_.data.test, config_.batch_sizes.largest(), parts_.classes);
    parts_.data.test.let_pages_go();
    progress_.require_finite(evaluation.loss);  // The last updates have not been used by any step.
    parts_.console.test_accuracy(evaluation.accuracy);
    const std::optional<Error> unsaved = already_done ? std::nullopt : parts_.supervisor.save_now();
    // Printed before this worker counts as done: the chief waits for all workers, so its closing line comes last.
    parts_.console.closing_line(evaluation.accuracy, progress_.step());
    session_.done();
    if (unsaved) throw *unsaved;
    return ExitCode::kOk;
  }

  ExitCode stop(ExitCode signal) {
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
