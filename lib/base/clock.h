// Time in milliseconds. Everything below the shells takes the time as an argument; only shells ask for it.
#pragma once

#include <chrono>
#include <cstdint>

namespace distmnist {

using TimeMs = std::int64_t;  // monotonic milliseconds

inline TimeMs monotonic_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// Seconds since some fixed moment, for measuring.
inline double monotonic_s() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace distmnist
