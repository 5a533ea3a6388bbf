#include "lib/supervisor/background_saver.h"

#include <exception>
#include <new>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/supervisor/checkpoint.h"

namespace distmnist {
namespace {

constexpr TimeMs kPollMs = 100;
constexpr TimeMs kSayEveryMs = 10'000;

double seconds(TimeMs ms) {
  return static_cast<double>(ms) / 1000;
}

}  // namespace

BackgroundSaver::BackgroundSaver(Saver saver, WaitLimits limits, std::function<bool()> stop_requested,
                                 std::unique_ptr<WorkQueue> queue)
    : limits_(limits),
      stop_requested_(std::move(stop_requested)),
      state_(std::make_shared<State>(std::move(saver))),
      queue_(std::move(queue)) {}

BackgroundSaver::~BackgroundSaver() {
  if (!gave_up_) queue_->finish(limits_.disk_ms);
}

void BackgroundSaver::submit(ModelSnapshot snapshot) {
  std::optional<ModelSnapshot> replaced;  // freed after the lock is released
  {
    const std::lock_guard lock(state_->mutex);
    // Until it is saved. (Later there may not even be memory for this.)
    state_->status.last_error = Error(ExitCode::kResources, "not enough memory to write a checkpoint");
    replaced = std::exchange(state_->pending, std::move(snapshot));
    if (replaced) ++state_->status.replaced;
  }
  if (!replaced) queue_->post([state = state_] { state->save_pending(); });
}

std::optional<Error> BackgroundSaver::flush() {
  if (auto error = wait_for_disk("the last checkpoint is not saved")) return error;
  return status().last_error;
}

std::optional<Error> BackgroundSaver::read_back() {
  const auto step = status().last_step;
  if (!step) return std::nullopt;
  const auto result = std::make_shared<std::optional<Error>>();
  queue_->post([result, path = state_->saver.folder() / checkpoint_name(*step)] {
    try {
      read_checkpoint(path);
    } catch (const Error& error) {
      *result = error;
    } catch (const std::exception& error) {
      *result = Error(ExitCode::kResources, error.what());
    }
  });
  if (auto error = wait_for_disk("the last checkpoint could not be read back")) return error;
  return *result;
}

std::optional<ModelSnapshot> BackgroundSaver::restore_newest(const ModelIdentity& flags) {
  struct Result {
    std::optional<ModelSnapshot> snapshot;
    std::exception_ptr error;
  };
  const auto result = std::make_shared<Result>();
  queue_->post([state = state_, result, flags] {
    try {
      result->snapshot = state->saver.restore_newest(flags);
    } catch (...) {
      result->error = std::current_exception();
    }
  });
  if (const auto error = wait_for_disk("no checkpoint can be read")) throw *error;
  if (result->error) std::rethrow_exception(result->error);
  return std::move(result->snapshot);
}

std::optional<Error> BackgroundSaver::wait_for_disk(const char* what) {
  PatientClock clock;
  const TimeMs began = clock.now();
  TimeMs say_ms = began + limits_.disk_ms;
  while (!queue_->finish(kPollMs)) {
    const TimeMs now = clock.now(), waited = now - began;
    const bool stops = stop_requested_ && stop_requested_();
    const TimeMs limit_ms = stops ? limits_.disk_ms : std::max(limits_.disk_ms, limits_.recovery_wait_ms);
    const std::string folder = state_->saver.folder().string();
    if (waited >= limit_ms) {
      gave_up_ = true;
      const std::string text =
          fmt::format("the disk of {} has not answered for {:.1f} s: {}", folder, seconds(waited), what);
      log_error("{}", text);  // At once: the process may take longer to end.
      return Error(ExitCode::kLostPeer, text);
    }
    if (now < say_ms) continue;
    say_ms = now + kSayEveryMs;
    log_warning("the disk of {} has not answered for {:.1f} s; waiting for another {:.0f} s", folder, seconds(waited),
                seconds(limit_ms - waited));
  }
  return std::nullopt;
}

BackgroundSaver::Status BackgroundSaver::status() const {
  const std::lock_guard lock(state_->mutex);
  return state_->status;
}

void BackgroundSaver::State::save_pending() {
  std::optional<ModelSnapshot> snapshot;
  {
    const std::lock_guard lock(mutex);
    snapshot = std::exchange(pending, std::nullopt);
  }
  try {
    return save(*snapshot);
  } catch (const Error& error) {
    note_failure(error);
  } catch (const std::bad_alloc&) {
    note_failure(std::nullopt);  // That error is there already.
  } catch (const std::exception& error) {
    note_failure(Error(ExitCode::kInternal, error.what()));
  }
  log_error("the checkpoint of step {} was not saved, but training continues and older checkpoints are kept: {}",
            snapshot->global_step, status.last_error->what());
}

void BackgroundSaver::State::note_failure(std::optional<Error> error) {
  const std::lock_guard lock(mutex);
  ++status.failures;
  if (error) status.last_error = std::move(error);
}

void BackgroundSaver::State::save(const ModelSnapshot& snapshot) {
  const double start = monotonic_s();
  saver.save(snapshot, [&](const std::filesystem::path& path) {
    log_info("saved {} in {:.0f} ms", path.string(), 1e3 * (monotonic_s() - start));
    const std::lock_guard lock(mutex);
    ++status.saves;
    status.last_step = snapshot.global_step;
    status.last_error.reset();
  });
}

}  // namespace distmnist
