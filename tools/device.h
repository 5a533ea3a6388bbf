// From --device to a backend.
#pragma once

#include <memory>

#include "lib/backend/backend.h"
#include "tools/flags.h"

namespace distmnist {

// The backend of --device, /cpu:0 by default. Error (kUsage): a device that is not a device name, or that is not here.
std::unique_ptr<Backend> make_device_backend(const Flags& flags);

}  // namespace distmnist
