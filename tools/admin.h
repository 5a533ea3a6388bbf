// What the subcommands that speak to running ps tasks share.
#pragma once

#include <cstddef>
#include <string>

#include "lib/ps/client/admin_client.h"
#include "tools/flags.h"

namespace distmnist {

// For one question of this process. Error (kUsage): no ps, or a broken description of the ps tasks;
// kSecurity: as of client_keys().
AdminConfig admin_config(const Flags& flags);

// "ps:0 localhost:2222"
std::string ps_name(const AdminConfig& config, std::size_t index);

}  // namespace distmnist
