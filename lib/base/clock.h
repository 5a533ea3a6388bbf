// Clocks: the only functions that read the time. Code below the shells takes the time as an argument.
#pragma once

#include <chrono>
#include <cstdint>

#include "lib/base/time_ms.h"

namespace distmnist {

inline TimeMs monotonic_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// Seconds since a fixed moment, for measuring.
inline double monotonic_s() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

// The wall clock, which may be set back: for names of files and runs, not for ordering.
inline std::uint64_t nanoseconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace distmnist
