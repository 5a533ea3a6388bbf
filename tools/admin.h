// Admin: what the subcommands that talk to running ps tasks share.
#pragma once

#include <cstddef>
#include <string>

#include "lib/ps/client/admin_client.h"
#include "tools/flags.h"

namespace distmnist {

// The configuration for one request of this process. Error: kUsage if there is no ps or the description of the ps tasks
// is invalid; kSecurity as in client_keys().
AdminConfig admin_config(const Flags& flags);

// "ps:0 localhost:2222"
std::string ps_name(const AdminConfig& config, std::size_t index);

}  // namespace distmnist
