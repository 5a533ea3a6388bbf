// Roles: who may say what to a ps. Where keys are asked for, the key decides; where not, a reset is for those who are
// near, and all else for whoever has been let in.
#pragma once

#include <string>

#include "lib/wire/header.h"
#include "lib/wire/sender.h"

namespace distmnist {

// Why the owner of this key may not say this; empty where it may, and where no keys are asked for. A worker's key
// speaks for its own task, and may ask for shared variables; the administrator's key may reset and ask for variables; a
// ps's key may say nothing to another ps.
std::string fault_of_key(const Sender& from, const Header& header);

// Why this peer may not reset; empty where it may. `stays`: the ps was started with --ps_stay.
std::string fault_of_reset(const Sender& from, bool stays);

}  // namespace distmnist
