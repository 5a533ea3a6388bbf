// TimeMs: moments and spans of time. Code that must not read the clock itself takes the time as an argument; clock.h
// has the clocks.
#pragma once

#include <cstdint>

namespace distmnist {

using TimeMs = std::int64_t;  // monotonic milliseconds

}  // namespace distmnist
