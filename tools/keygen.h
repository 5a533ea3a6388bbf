// Keygen: makes the key folders of a cluster (distmnist keygen).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cluster/cluster_spec.h"
#include "lib/wire/sender.h"

namespace distmnist {

// The maximum number of tasks with keys: each folder holds the public keys of all tasks.
inline constexpr std::size_t kMaxKeyTasks = 256;

// A folder to copy to one host or task.
struct KeyFolderPlan {
  std::string name;              // inside the output folder
  std::vector<KeyOwner> owners;  // the owners of the secrets in it
  std::string host;  // the host of its tasks, as written in the cluster; empty if unknown, and for the administrator
};

// A folder for each task of "ps:2,worker:3", and one for the administrator. Error (kUsage): a different format, no ps,
// or more than kMaxKeyTasks.
std::vector<KeyFolderPlan> plan_of_tasks(std::string_view tasks);

// A folder for each host of the cluster, named after it, and one for the administrator. Error (kUsage): a host name
// that cannot be a folder name, or more than kMaxKeyTasks.
std::vector<KeyFolderPlan> plan_of_hosts(const ClusterSpec& cluster);

// Makes a key pair for each owner, and the planned folders inside `folder`, which must be missing or empty. The result
// is atomic, durable and private to this user; a failure leaves nothing. Error: kConflict if the folder is not empty,
// kUsage if it cannot be created, kResources (no space) or kInterrupted (a signal).
void write_key_folders(const std::filesystem::path& folder, const std::vector<KeyFolderPlan>& plan);

}  // namespace distmnist
