#include "lib/base/watchdog.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

constexpr TimeMs kLookMs = 100;  // between two looks; how long the destructor may take

}  // namespace

TimeMs stuck_after(TimeMs stuck_ms, std::optional<TimeMs> median_ms) {
  return median_ms ? std::max(stuck_ms, kStuckSteps * *median_ms) : kStuckSteps * stuck_ms;
}

void RecentMedian::add(TimeMs took_ms) {
  last_[count_++ % last_.size()] = took_ms;
  auto sorted = last_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(count_, last_.size()) / 2);
  std::nth_element(sorted.begin(), middle,
                   sorted.begin() + static_cast<std::ptrdiff_t>(std::min(count_, last_.size())));
  median_ = *middle;
}

Watchdog::Watchdog(Config config)
    : config_(std::move(config)), limit_ms_(stuck_after(config_.stuck_ms, std::nullopt)), thread_([this] { run(); }) {}

Watchdog::~Watchdog() {
  stopping_ = true;
  thread_.join();
}

void Watchdog::begin(std::int64_t step) {
  began_ms_ = monotonic_ms();
  step_ = step;
  beat();
  work_ = Work::kComputes;
}

void Watchdog::end() {
  work_ = Work::kWaits;
  beat();
  median_.add(monotonic_ms() - began_ms_);
  limit_ms_ = stuck_after(config_.stuck_ms, median_.value());
}

void Watchdog::rest() {
  work_ = Work::kNotWatched;
  beat();
}

std::optional<Stuck> Watchdog::stuck() const {
  const TimeMs for_ms = stuck_ms_;
  if (for_ms == 0) return std::nullopt;
  return Stuck{for_ms, step_};
}

void Watchdog::run() {
  try {
    watch();
  } catch (const std::exception& error) {
    log_warning("the watchdog has stopped: {}; a computation that hangs will not be noticed", error.what());
  }
}

void Watchdog::watch() {
  PatientClock clock;  // A process that was stopped was not stuck.
  std::uint64_t seen = beats_;
  TimeMs since_ms = clock.now();
  bool gave_up = false;
  while (!stopping_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kLookMs));
    const TimeMs now = clock.now(), still_ms = now - since_ms;
    const Work work = work_;
    if (const std::uint64_t beats = beats_; beats != seen || work == Work::kNotWatched) {
      seen = beats;
      since_ms = now;
      if (stuck_ms_.exchange(0) != 0) log_info("the computation goes on after {} s", still_ms / 1000);
      continue;
    }
    const TimeMs limit_ms = work == Work::kComputes ? limit_ms_.load() : config_.stuck_ms;
    if (still_ms < limit_ms) continue;
    if (stuck_ms_.exchange(still_ms) == 0) {
      log_warning("the computation has made no progress for {:.1f} s, last step {}; giving up in {} s",
                  static_cast<double>(still_ms) / 1000, step_.load(), config_.give_up_ms / 1000);
    }
    if (still_ms >= limit_ms + config_.give_up_ms && config_.give_up && !std::exchange(gave_up, true)) {
      config_.give_up({still_ms, step_});
    }
  }
}

}  // namespace distmnist
