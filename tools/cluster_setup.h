// Cluster setup: derives the cluster and this process's place in it from the flags.
#pragma once

#include <optional>
#include <vector>

#include "lib/cluster/allow_list.h"
#include "lib/cluster/cluster_spec.h"
#include "tools/flags.h"

namespace distmnist {

struct Place {
  ClusterSpec cluster;
  TaskId task;                     // job "ps" or "worker", whatever the description calls it
  std::optional<HostPort> bind{};  // the address on which a ps listens, if not its own address
};

// The addresses given by --allow. Error (kUsage) if they are invalid, or if --insecure and --keys conflict.
std::vector<AddressBlock> allowed_addresses(const Flags& flags);

// Whether the flags describe a cluster; a task without one uses the built-in cluster.
bool describes_cluster(const Flags& flags);

// Nothing for a local run, that is, without --job_name and a cluster. Error (kUsage): a job without a role, a task out
// of range, or an invalid or contradictory description. Does not resolve host names.
std::optional<Place> find_place(const Flags& flags);

// The cluster described by the flags, else the built-in one; it may have no workers. Error (kUsage) as above.
ClusterSpec described_cluster(const Flags& flags);

// The ps tasks of --ps_hosts or --cluster, else of the built-in cluster. Error (kUsage) as above.
std::vector<HostPort> find_ps_tasks(const Flags& flags);

}  // namespace distmnist
