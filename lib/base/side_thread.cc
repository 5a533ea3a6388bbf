#include "lib/base/side_thread.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace distmnist {

// Belongs to the thread as well, which may outlive the object.
struct SideThread::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> posted;
  bool busy = false;
  bool stopping = false;

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return stopping || !posted.empty(); });
      if (posted.empty()) return;
      {
        const std::function<void()> work = std::move(posted.front());
        posted.pop_front();
        busy = true;
        lock.unlock();
        try {
          work();
        } catch (...) {
          // Against its promise: there may not even be memory to report that.
        }
      }
      lock.lock();
      busy = false;
      changed.notify_all();
    }
  }
};

SideThread::SideThread() : state_(std::make_shared<State>()), thread_([state = state_] { state->run(); }) {}

SideThread::~SideThread() {
  const bool done = finish(kPartingMs);
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->posted.clear();
  }
  state_->changed.notify_all();
  if (done) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void SideThread::post(std::function<void()> work) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->posted.push_back(std::move(work));
  }
  state_->changed.notify_all();
}

bool SideThread::finish(TimeMs limit_ms) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, std::chrono::milliseconds(limit_ms),
                                  [this] { return state_->posted.empty() && !state_->busy; });
}

}  // namespace distmnist
