// The subcommand keygen, which makes the keys of a cluster.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/flags.h"

namespace distmnist {

void add_keygen_subcommand(CLI::App& app, Flags& flags);

}  // namespace distmnist
