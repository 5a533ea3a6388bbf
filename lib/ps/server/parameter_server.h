// The shell of a ps task: a socket, the clock and a loop around PsCore.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/ps/server/doorkeeper.h"
#include "lib/ps/server/ps_core.h"
#include "lib/wire/keys.h"

namespace distmnist {

class WireContext;

struct ParameterServerConfig {
  HostPort address;                // where workers look for this ps
  std::optional<HostPort> bind;    // where it listens instead
  AccessRules access;              // who may connect over TCP; with keys anybody, unless `allow` names somebody
  std::optional<ServerKeys> keys;  // who may connect at all
  PsIdentity identity;
  PsLimits limits;
  int threads = 1;                                       // that share the work of an update
  std::function<std::optional<ExitCode>()> stop_signal;  // the code to end with, once a signal has come
  // Where workers are threads of this process: what to listen on instead ("inproc://..."), in the context that they
  // share.
  std::string endpoint;
  WireContext* context = nullptr;
};

// Serves until the run is over (kOk), a signal ends it, nobody comes (kLostPeer) or its model is ruined (kDiverged).
// Errors: kConflict where the port is in use, kUsage where the address is not of this host, kLostPeer where its name
// stays unknown for limits.recovery_wait_ms, kInterrupted where a signal ends the wait for it, kSecurity where it would
// be open to the internet.
ExitCode run_parameter_server(const ParameterServerConfig& config);

}  // namespace distmnist
