// What distmnist keygen makes: the folders of keys of a cluster.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cluster/cluster_spec.h"
#include "lib/wire/sender.h"

namespace distmnist {

// The most tasks that keys are made for: each folder has the public keys of all of them.
inline constexpr std::size_t kMaxKeyTasks = 256;

// A folder to copy to one place.
struct KeyFolderPlan {
  std::string name;              // within the folder of all
  std::vector<KeyOwner> owners;  // whose secrets are in it
  std::string host;              // where its tasks are, as the cluster has it; empty: not known, or the administrator's
};

// A folder for each task of "ps:2,worker:3", and the administrator's. Error (kUsage): something else than that, no ps,
// more than kMaxKeyTasks.
std::vector<KeyFolderPlan> plan_of_tasks(std::string_view tasks);

// A folder for each host of the cluster, named after it, and the administrator's. Error (kUsage): a host whose name
// cannot be that of a folder, more than kMaxKeyTasks.
std::vector<KeyFolderPlan> plan_of_hosts(const ClusterSpec& cluster);

// Makes a key pair for each owner, and the folders of the plan in `folder`, which is missing or empty. It appears in
// one step, durable, and for this user alone; a failure leaves nothing. Error: kConflict where something is in it
// already, kUsage where it cannot be made, kResources (no space), kInterrupted (a signal).
void write_key_folders(const std::filesystem::path& folder, const std::vector<KeyFolderPlan>& plan);

}  // namespace distmnist
