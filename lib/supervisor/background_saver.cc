#include "lib/supervisor/background_saver.h"

#include <exception>
#include <new>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"

namespace distmnist {

BackgroundSaver::BackgroundSaver(Saver& saver) : saver_(saver), thread_([this] { run(); }) {}

BackgroundSaver::~BackgroundSaver() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundSaver::submit(ModelSnapshot snapshot) {
  std::optional<ModelSnapshot> replaced;  // freed after the lock is released
  {
    const std::lock_guard lock(mutex_);
    replaced = std::exchange(pending_, std::move(snapshot));
    if (replaced) ++status_.replaced;
  }
  changed_.notify_all();
}

std::optional<Error> BackgroundSaver::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !pending_ && !busy_; });
  return status_.last_error;
}

BackgroundSaver::Status BackgroundSaver::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void BackgroundSaver::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return pending_ || stopping_; });
    if (!pending_) return;
    {
      const ModelSnapshot snapshot = std::move(*pending_);
      pending_.reset();
      busy_ = true;
      lock.unlock();
      save(snapshot);
    }
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void BackgroundSaver::save(const ModelSnapshot& snapshot) {
  std::optional<Error> error;
  const double start = monotonic_s();
  try {
    const auto path = saver_.save(snapshot);
    log_info("saved {} in {:.0f} ms", path.string(), 1e3 * (monotonic_s() - start));
  } catch (const Error& e) {
    error = e;
  } catch (const std::bad_alloc&) {
    error = Error(ExitCode::kResources, "not enough memory to write a checkpoint");
  } catch (const std::exception& e) {
    error = Error(ExitCode::kInternal, e.what());
  }
  if (error) {
    log_error("the checkpoint of step {} was not saved, but training continues and older checkpoints are kept: {}",
              snapshot.global_step, error->what());
  }

  const std::lock_guard lock(mutex_);
  if (error) {
    ++status_.failures;
  } else {
    ++status_.saves;
    status_.last_step = snapshot.global_step;
  }
  status_.last_error = std::move(error);
}

}  // namespace distmnist
