// Key folders: the folders given by --keys. Each holds the secret key of a task, or of several tasks of one host, and
// the public keys of all tasks. distmnist keygen makes them; docs/security.md describes the files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <vector>

#include "lib/cluster/cluster_spec.h"
#include "lib/wire/keys.h"

namespace distmnist {

struct TaskKeys {
  std::filesystem::path folder;  // the folder they were found in
  KeyPair own;
  std::map<KeyOwner, Key> known;  // the key of each owner, including its own if present
};

// The keys of `self`. Its secret is in `folder` or in one of its subfolders: distmnist keygen makes one per host or
// task, and on a single host they need not be separated. Error (kSecurity) for any problem: a missing folder or key; a
// secret that other users can read or write; a folder or public key that other users can write; a file owned by a
// different user (root may own it, and root may use any user's files); a file that is not a key file; a public key that
// does not match its secret; or two tasks with the same key. Symbolic links are followed, and their targets must meet
// the same rules.
TaskKeys read_task_keys(const std::filesystem::path& folder, const KeyOwner& self);

// For ps `index` of the cluster: its own key, and the keys of the clients it accepts. These are the workers of the
// cluster and the administrator; with `any_worker`, every worker that has a key. Error: as read_task_keys(), or no
// worker has a key.
ServerKeys server_keys(const std::filesystem::path& folder, std::uint32_t index, const ClusterSpec& cluster,
                       bool any_worker);

// For a client of `num_ps` ps tasks, one entry each. Error: as read_task_keys() and require_curve(), or a ps has no
// key.
std::vector<ClientKeys> client_keys(const std::filesystem::path& folder, const KeyOwner& self, std::size_t num_ps);

}  // namespace distmnist
