// Watchdog: notices that a computation does not come back: a thread that hangs in a driver, or a processor that never
// gets to it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "lib/base/time_ms.h"

namespace distmnist {

// A computation without progress.
struct Stuck {
  TimeMs for_ms = 0;
  std::int64_t step = 0;  // the global_step of its parameters
};

// The rule: a computation is stuck after the larger of stuck_ms and kStuckSteps times the median computation. Before
// the first one is finished it has kStuckSteps times stuck_ms, because devices start slowly.
inline constexpr std::int64_t kStuckSteps = 10;
TimeMs stuck_after(TimeMs stuck_ms, std::optional<TimeMs> median_ms);

// The median of the last computations.
class RecentMedian {
 public:
  void add(TimeMs took_ms);
  std::optional<TimeMs> value() const { return count_ == 0 ? std::nullopt : std::optional(median_); }

 private:
  std::array<TimeMs, 31> last_{};
  std::size_t count_ = 0;  // in all
  TimeMs median_ = 0;
};

class Watchdog {
 public:
  struct Config {
    TimeMs stuck_ms = 60'000;
    TimeMs give_up_ms = 120'000;  // after it counts as stuck
    // Called by the watchdog's thread when the computation has been stuck for give_up_ms. It may end the process.
    std::function<void(const Stuck&)> give_up;
  };
  explicit Watchdog(Config config);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // From the thread that computes: a computation begins, and ends. From end() on, the thread waits for others as long
  // as it likes, but beats at least every stuck_ms; from rest() on, it is not watched.
  void begin(std::int64_t step);
  void end();
  void rest();
  // The thread is alive.
  void beat() { beats_.fetch_add(1, std::memory_order_relaxed); }

  // From any thread: the computation that is stuck; nothing if none is.
  std::optional<Stuck> stuck() const;

 private:
  void run();
  void watch();

  Config config_;
  std::atomic<std::uint64_t> beats_ = 0;
  std::atomic<std::int64_t> step_ = 0;
  enum class Work { kNotWatched, kComputes, kWaits };
  std::atomic<Work> work_ = Work::kNotWatched;
  std::atomic<TimeMs> limit_ms_;      // of a computation
  std::atomic<TimeMs> stuck_ms_ = 0;  // how long it has been stuck; 0: it is not
  RecentMedian median_;               // of the computing thread
  TimeMs began_ms_ = 0;               // likewise
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace distmnist
