// SIGTERM and SIGINT: noted, for the loops to see; a second one ends the process at once.
#pragma once

#include <optional>

#include "lib/base/error.h"

namespace distmnist {

// Call once, before other threads start. Also ignores SIGPIPE: a closed pipe is an error of the write.
void install_signal_handlers();

// The exit code of the signal that has come: kTerminated or kInterrupted.
std::optional<ExitCode> signal_received();

}  // namespace distmnist
