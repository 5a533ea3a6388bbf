#include <chrono>

#include "lib/base/log.h"
#include "lib/ps/parameter_server.h"
#include "tools/commands.h"
#include "tools/signals.h"

namespace distmnist {

ExitCode serve_parameters(const Flags& flags, const Place& place) {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  ParameterServerConfig config;
  config.address = address_of(place.cluster, place.task);
  config.identity.index = static_cast<std::uint32_t>(place.task.index);
  config.identity.num_ps = static_cast<std::uint32_t>(place.cluster.ps.size());
  config.identity.num_workers = static_cast<std::uint32_t>(place.cluster.workers.size());
  config.identity.stay = flags.ps_stay;
  config.identity.epoch =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since_1970).count());
  config.limits.recovery_wait_ms = static_cast<TimeMs>(flags.recovery_wait_secs * 1000);
  config.stop_signal = signal_received;
  return run_parameter_server(config);
}

}  // namespace distmnist
