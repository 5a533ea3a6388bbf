// Roles: which peer may send which message to a ps. With keys, the key decides. Without keys, only a peer on the ps's
// own host may reset (with --ps_stay any peer), and every peer that may connect may send everything else.
#pragma once

#include <string>

#include "lib/wire/header.h"
#include "lib/wire/sender.h"

namespace distmnist {

// Why the owner of this key must not send this message; empty if it may, or if there are no keys. A worker's key is
// valid for its own task and for shared variables. The admin key may reset and ask for variables. A ps's key may not
// send anything to another ps.
std::string fault_of_key(const Sender& from, const Header& header);

// Why this peer must not reset; empty if it may. `stays`: the ps was started with --ps_stay.
std::string fault_of_reset(const Sender& from, bool stays);

}  // namespace distmnist
