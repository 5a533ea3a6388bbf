// From the flags to the cluster and this process's place in it.
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
  std::optional<HostPort> bind{};  // where a ps listens, if not at its address
};

// What --allow names. Error (kUsage), also where --insecure and --keys contradict each other.
std::vector<AddressBlock> allowed_addresses(const Flags& flags);

// Whether flags describe a cluster; without one a task takes the built-in cluster.
bool describes_cluster(const Flags& flags);

// Nothing for a local run: no --job_name and no cluster. Error (kUsage): a job that plays no role, a task out of range,
// a broken or contradictory description. No name is looked up.
std::optional<Place> find_place(const Flags& flags);

// The cluster that the flags describe, else the built-in one; workers may be missing. Error (kUsage) as above.
ClusterSpec described_cluster(const Flags& flags);

// The ps tasks that --ps_hosts or --cluster name, or the built-in cluster's. Error (kUsage) as above.
std::vector<HostPort> find_ps_tasks(const Flags& flags);

}  // namespace distmnist
