#include "tools/admin.h"

#include "lib/base/unguessable.h"
#include "tools/cluster_setup.h"
#include "tools/key_folder.h"
#include "tools/process_limits.h"
#include "tools/signals.h"

namespace distmnist {

AdminConfig admin_config(const Flags& flags) {
  AdminConfig config;
  config.ps = find_ps_tasks(flags);
  if (flags.cluster.keys) config.keys = client_keys(*flags.cluster.keys, {KeyOwner::Role::kAdmin, 0}, config.ps.size());
  require_sockets(2 * static_cast<int>(config.ps.size()));  // ZeroMQ ends the process if it cannot get a socket.
  config.incarnation = unguessable_number();
  config.wait_ms = static_cast<TimeMs>(flags.admin.wait_secs * 1000);
  config.stop_requested = [] { return signal_received().has_value(); };
  return config;
}

std::string ps_name(const AdminConfig& config, std::size_t index) {
  return fmt::format("ps:{} {}", index, config.ps[index].to_string());
}

}  // namespace distmnist
