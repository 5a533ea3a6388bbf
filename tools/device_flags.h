// The flags that say what to compute on.
#pragma once

#include "tools/flags.h"

namespace distmnist {

// Error (kUsage): a share of memory that is none.
void check_device_flags(const Flags& flags);

}  // namespace distmnist
