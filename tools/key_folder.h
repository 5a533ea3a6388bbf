// Folders of keys: what --keys names. One holds the secret key of a task, or of several tasks of one host, and the
// public keys of all tasks; distmnist keygen makes them. docs/security.md says what is in which file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <vector>

#include "lib/cluster/cluster_spec.h"
#include "lib/wire/keys.h"

namespace distmnist {

struct TaskKeys {
  std::filesystem::path folder;  // where they were found
  KeyPair own;
  std::map<KeyOwner, Key> known;  // whose key is which, the own one included where it is there
};

// The keys of `self`. Its secret is in `folder`, or else in one of the folders in it: distmnist keygen makes one for
// each host or task, and on one host they need not be told apart. Error (kSecurity), whatever is wrong with them: no
// such folder or key, a secret that others may read or write, a folder or a public key that others may write, one that
// is another user's (root may have it, and root may use anybody's), a file that is none of keys, a public key that does
// not fit its secret, one key of two tasks. Links are followed, and what they lead to is held to the same.
TaskKeys read_task_keys(const std::filesystem::path& folder, const KeyOwner& self);

// For ps `index` of the cluster: its own key, and those whom it lets in: the workers of the cluster and the
// administrator; with `any_worker` each worker that has a key. Error: as read_task_keys(), and no key of a worker.
ServerKeys server_keys(const std::filesystem::path& folder, std::uint32_t index, const ClusterSpec& cluster,
                       bool any_worker);

// For a client of `num_ps` ps tasks, one for each. Error: as read_task_keys() and require_curve(), and no key of a ps.
std::vector<ClientKeys> client_keys(const std::filesystem::path& folder, const KeyOwner& self, std::size_t num_ps);

}  // namespace distmnist
