// ask_ps_tasks: asks ps tasks one question from outside any run. It connects, asks, repeats the question if no answer
// arrives, and gives up after a time limit.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/time_ms.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/wire/frame.h"
#include "lib/wire/keys.h"

namespace distmnist {

inline constexpr TimeMs kAskAgainMs = 2'000;  // without an answer, the question is sent again on a new connection

struct AdminConfig {
  std::vector<HostPort> ps;
  std::vector<ClientKeys> keys;   // one for each ps, if the cluster has keys
  std::uint64_t incarnation = 0;  // unique to this client: a ps recognizes a repeated question by it
  TimeMs wait_ms = 120'000;
  std::function<bool()> stop_requested;  // polled while waiting
};

// The result for one ps.
struct AdminOutcome {
  ExitCode code = ExitCode::kOk;
  std::string error;  // if code is not kOk: "cannot be reached (connection refused) for 5 s", or a refusal's reason
  Frame answer;       // otherwise: the record
};

// Sends records[k], a record of `type`, to ps k and expects an answer of `answer_type`. Returns one outcome for each
// ps. The outcome of a ps that does not answer in time is kLostPeer. Throws Error (kInterrupted) once a stop is
// requested.
std::vector<AdminOutcome> ask_ps_tasks(const AdminConfig& config, MessageType type, MessageType answer_type,
                                       const std::vector<Frame>& records);

}  // namespace distmnist
