// The flags that say what to compute on.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/flags.h"

namespace distmnist {

// Of everything that computes, also evaluate and predict.
void add_device_flags(CLI::App& app, Flags& flags);
// Those that only training takes.
void add_training_device_flags(CLI::App& app, Flags& flags);

// Error (kUsage): a --device that is not a device name, a precision or a share of memory that is none.
void check_device_flags(const Flags& flags);

}  // namespace distmnist
