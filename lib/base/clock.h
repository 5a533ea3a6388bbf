// Clocks: the only functions that read the time. Code below the shells takes the time as an argument.
#pragma once

#include <algorithm>
#include <chrono>

#include "lib/base/time_ms.h"

namespace distmnist {

inline TimeMs monotonic_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// The time for a loop that waits for others. If the process is stopped for a while, or its host is busy with something
// else, it must not conclude that all peers were silent meanwhile: between two looks at the clock, at most kMaxGapMs
// pass. Not thread-safe.
class PatientClock {
 public:
  static constexpr TimeMs kMaxGapMs = 1'000;

  TimeMs now() {
    const TimeMs looked = monotonic_ms();
    now_ += std::min(looked - looked_, kMaxGapMs);
    looked_ = looked;
    return now_;
  }

 private:
  TimeMs looked_ = monotonic_ms();
  TimeMs now_ = looked_;
};

// Seconds since a fixed moment, for measuring.
inline double monotonic_s() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace distmnist
