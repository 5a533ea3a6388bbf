#include <vector>

#include "lib/base/log.h"
#include "lib/base/unguessable.h"
#include "lib/ps/server/parameter_server.h"
#include "tools/cluster_setup.h"
#include "tools/commands.h"
#include "tools/flags.h"
#include "tools/key_folder.h"
#include "tools/num_threads.h"
#include "tools/process_limits.h"
#include "tools/signals.h"

namespace distmnist {
namespace {

// The number of tasks of the cluster that compute on this task's host, including this one.
int num_tasks_here(const Place& place) {
  std::vector<HostPort> tasks = place.cluster.ps;
  tasks.insert(tasks.end(), place.cluster.workers.begin(), place.cluster.workers.end());
  return tasks_on_same_host(tasks, static_cast<std::size_t>(place.task.index));
}

// The hosts of the cluster, and those added by the user.
AccessRules access_of(const Flags& flags, const Place& place) {
  AccessRules access;
  access.hosts = place.cluster.ps;
  access.hosts.insert(access.hosts.end(), place.cluster.workers.begin(), place.cluster.workers.end());
  access.insecure = flags.cluster.insecure;
  access.allow = allowed_addresses(flags);
  return access;
}

}  // namespace

ExitCode serve_parameters(const Flags& flags, const Place& place) {
  ParameterServerConfig config;
  config.address = address_of(place.cluster, place.task);
  config.bind = place.bind;
  const auto index = static_cast<std::uint32_t>(place.task.index);
  if (flags.cluster.keys) config.keys = server_keys(*flags.cluster.keys, index, place.cluster, flags.cluster.ps_stay);
  config.access = access_of(flags, place);
  config.identity.index = index;
  config.identity.num_ps = static_cast<std::uint32_t>(place.cluster.ps.size());
  config.identity.num_workers = static_cast<std::uint32_t>(place.cluster.workers.size());
  config.identity.stay = flags.cluster.ps_stay;
  config.identity.epoch = unguessable_number();
  config.limits = wait_limits(flags);
  config.threads = num_threads(flags, num_tasks_here(place));
  config.stop_signal = signal_received;
  raise_descriptor_limit();
  require_sockets(2 * static_cast<int>(config.identity.num_workers));
  return run_parameter_server(config);
}

}  // namespace distmnist
