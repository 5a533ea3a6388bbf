// Device flags: checks of the flags that select the devices.
#pragma once

#include "tools/flags.h"

namespace distmnist {

// Error (kUsage) if the fraction of memory is invalid.
void check_device_flags(const Flags& flags);

}  // namespace distmnist
