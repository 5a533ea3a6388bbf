#include "lib/ps/server/roles.h"

#include <fmt/core.h>

#include "lib/ps/records/names.h"

namespace distmnist {

std::string fault_of_key(const Sender& from, const Header& header) {
  if (!from.key) return {};
  const KeyOwner& owner = *from.key;
  const bool variable = header.type == MessageType::kVariable;
  const bool reset = header.type == MessageType::kReset;
  switch (owner.role) {
    case KeyOwner::Role::kPs:
      return fmt::format("the key of {} is for serving requests, not for sending them to another ps",
                         owner.to_string());
    case KeyOwner::Role::kAdmin:
      if (reset || variable) return {};
      return "the admin key is only for resetting containers and for variables; a worker needs its own key";
    case KeyOwner::Role::kWorker:
      if (variable) return {};
      if (reset) return fmt::format("a reset needs the admin key, but this is the key of {}", owner.to_string());
      if (header.worker == owner.index) return {};
      return fmt::format("the key of {} is not valid for {}; give each task its own key", owner.to_string(),
                         task_name(header.worker));
  }
  return "an unknown kind of key";
}

std::string fault_of_reset(const Sender& from, bool stays) {
  if (from.key || from.on_own_host || stays) return {};
  return "without keys, this ps can be reset only from its own host; run the reset there, or start the ps tasks with "
         "--ps_stay";
}

}  // namespace distmnist
