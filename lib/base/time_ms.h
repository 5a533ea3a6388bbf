// Moments and spans of time. What must not ask for the time itself takes it as an argument; clock.h has the clocks.
#pragma once

#include <cstdint>

namespace distmnist {

using TimeMs = std::int64_t;  // monotonic milliseconds

}  // namespace distmnist
