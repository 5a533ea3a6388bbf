// SIGTERM, SIGINT, SIGHUP and SIGXCPU: noted, for the loops to see; a second one ends the process at once.
#pragma once

#include <optional>

#include "lib/base/error.h"

namespace distmnist {

// Call once, before other threads start. SIGHUP that was ignored when the process started (nohup) stays so.
void note_signals();

// A write to a closed pipe, or beyond the limit of a file's size, is an error of the write and does not end the
// process.
void ignore_signals_of_writes();

// The exit code of the signal that has come: kInterrupted of SIGINT, else kTerminated.
std::optional<ExitCode> signal_received();

}  // namespace distmnist
