// The subcommands that speak to running ps tasks: reset and variable.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/flags.h"

namespace distmnist {

// Both, with the flags that say which ps tasks are meant.
void add_admin_subcommands(CLI::App& app, Flags& flags);

}  // namespace distmnist
