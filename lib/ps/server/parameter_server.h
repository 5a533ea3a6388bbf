// run_parameter_server: the shell of a ps task: a socket, the clock and a loop around PsCore.
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
  AccessRules access;              // which peers may connect over TCP; with keys all may, unless `allow` lists some
  std::optional<ServerKeys> keys;  // which key owners may connect at all
  PsIdentity identity;
  WaitLimits limits;
  int threads = 1;                                       // that share the work of an update
  std::function<std::optional<ExitCode>()> stop_signal;  // the exit code, once a signal has arrived
  // If the workers are threads of this process: what to listen on instead ("inproc://..."), in the context that they
  // share.
  std::string endpoint;
  WireContext* context = nullptr;
};

// Serves until the run is over (kOk), a signal ends it, no worker connects (kLostPeer) or its model is ruined
// (kDiverged). Throws Error: kConflict if the port is in use, kUsage if the address is not one of this host, kLostPeer
// if its name is still unknown after limits.recovery_wait_ms, kInterrupted if a signal ends that wait, kSecurity if the
// ps would be open to the internet.
ExitCode run_parameter_server(const ParameterServerConfig& config);

}  // namespace distmnist
