// SideThread: a thread for work that may never come back, such as a write to a disk that does not answer. The caller
// decides how long to wait.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "lib/base/time_ms.h"

namespace distmnist {

// Runs posted work, one piece after another. The work must own what it uses, because its queue may end first.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;
  // Runs `work`, which must not throw, after what was posted before.
  virtual void post(std::function<void()> work) = 0;
  // Waits until all posted work is done. Returns false after limit_ms.
  virtual bool finish(TimeMs limit_ms) = 0;
};

class SideThread : public WorkQueue {
 public:
  SideThread();
  // Waits for posted work for at most kPartingMs, then abandons the thread.
  ~SideThread() override;
  SideThread(const SideThread&) = delete;
  SideThread& operator=(const SideThread&) = delete;

  static constexpr TimeMs kPartingMs = 1'000;

  void post(std::function<void()> work) override;
  bool finish(TimeMs limit_ms) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

// The result of a function that may take long or never return, which a SideThread runs.
template <class T>
class Eventually {
 public:
  // `function` must not throw.
  explicit Eventually(std::function<T()> function) {
    thread_.post([result = result_, function = std::move(function)] {
      T value = function();
      const std::lock_guard lock(result->mutex);
      result->value = std::move(value);
    });
  }
  // The result, once it is there. Waits for it for at most limit_ms.
  std::optional<T> take(TimeMs limit_ms = 0) {
    thread_.finish(limit_ms);
    const std::lock_guard lock(result_->mutex);
    return std::exchange(result_->value, std::nullopt);
  }

 private:
  struct Result {
    std::mutex mutex;
    std::optional<T> value;
  };
  std::shared_ptr<Result> result_ = std::make_shared<Result>();
  SideThread thread_;
};

}  // namespace distmnist
