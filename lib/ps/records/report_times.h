// When the ps and its clients report what they are waiting for.
#pragma once

#include "lib/base/time_ms.h"

namespace distmnist {

inline constexpr TimeMs kFirstReportMs = 1'000;   // of waiting: other tasks may start a moment later
inline constexpr TimeMs kReportEveryMs = 10'000;  // after the first report

// When the ps tells a worker that it waits for others.
inline constexpr TimeMs kFirstNoticeMs = 1'000;
inline constexpr TimeMs kNoticeEveryMs = 8'000;  // after the first notice, at most

}  // namespace distmnist
