// The admin client asks ps tasks one question from outside of any run: it connects, asks, asks again where an answer
// does not come, and gives up in time.
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

inline constexpr TimeMs kAskAgainMs = 2'000;  // a question without an answer is asked again, on a new connection

struct AdminConfig {
  std::vector<HostPort> ps;
  std::vector<ClientKeys> keys;   // for each of them, where the cluster has keys
  std::uint64_t incarnation = 0;  // of no other client: a ps knows a question that comes again by it
  TimeMs wait_ms = 120'000;
  std::function<bool()> stop_requested;  // asked while waiting
};

// What one ps said.
struct AdminOutcome {
  ExitCode code = ExitCode::kOk;
  std::string error;  // where code is not kOk: "cannot be reached (connection refused) for 5 s", a refusal's reason
  Frame answer;       // else the record
};

// Asks ps k the question records[k], a record of `type` that is answered by `answer_type`; one outcome for each. A ps
// that does not answer in time is kLostPeer. Error (kInterrupted) once a stop is asked for.
std::vector<AdminOutcome> ask_ps_tasks(const AdminConfig& config, MessageType type, MessageType answer_type,
                                       const std::vector<Frame>& records);

}  // namespace distmnist
