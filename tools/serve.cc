#include <vector>

#include "lib/base/log.h"
#include "lib/base/unguessable.h"
#include "lib/ps/parameter_server.h"
#include "tools/commands.h"
#include "tools/num_threads.h"
#include "tools/process_limits.h"
#include "tools/signals.h"

namespace distmnist {
namespace {

// All tasks of the cluster that compute on the host of this one, which is counted.
int num_tasks_here(const Place& place) {
  std::vector<HostPort> tasks = place.cluster.ps;
  tasks.insert(tasks.end(), place.cluster.workers.begin(), place.cluster.workers.end());
  return tasks_on_same_host(tasks, static_cast<std::size_t>(place.task.index));
}

}  // namespace

ExitCode serve_parameters(const Flags& flags, const Place& place) {
  ParameterServerConfig config;
  config.address = address_of(place.cluster, place.task);
  config.bind = place.bind;
  config.identity.index = static_cast<std::uint32_t>(place.task.index);
  config.identity.num_ps = static_cast<std::uint32_t>(place.cluster.ps.size());
  config.identity.num_workers = static_cast<std::uint32_t>(place.cluster.workers.size());
  config.identity.stay = flags.ps_stay;
  config.identity.epoch = unguessable_number();
  config.limits.recovery_wait_ms = static_cast<TimeMs>(flags.recovery_wait_secs * 1000);
  config.threads = num_threads(flags, num_tasks_here(place));
  config.stop_signal = signal_received;
  require_sockets(2 * static_cast<int>(config.identity.num_workers));  // ZeroMQ ends the process where it gets none.
  return run_parameter_server(config);
}

}  // namespace distmnist
