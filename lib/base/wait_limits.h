// WaitLimits: how long a task waits for what. docs/reliability.md has the table of these limits.
#pragma once

#include "lib/base/time_ms.h"

namespace distmnist {

struct WaitLimits {
  TimeMs recovery_wait_ms = 120'000;  // for a peer that is lost or not ready; after that the task ends
  TimeMs silence_ms = 15'000;         // a peer that has said nothing for so long counts as lost
  TimeMs answer_ms = 15'000;  // a request without an answer is asked again after this time, and the session is opened
                              // again after twice this time
  TimeMs stuck_ms = 60'000;   // a computation without progress, at least; see stuck_after
  TimeMs disk_ms = 15'000;    // a disk that does not answer

  bool operator==(const WaitLimits&) const = default;
};

}  // namespace distmnist
