// Signals: records SIGTERM, SIGINT, SIGHUP and SIGXCPU for the loops to check; a second signal ends the process at
// once.
#pragma once

#include <optional>

#include "lib/base/error.h"

namespace distmnist {

// Call once, before starting other threads. A SIGHUP that was ignored when the process started (nohup) stays ignored.
void note_signals();

// Makes a write to a closed pipe, or past the file size limit, fail with an error instead of ending the process.
void ignore_signals_of_writes();

// The exit code for the received signal: kInterrupted for SIGINT, else kTerminated. Nothing if there was none.
std::optional<ExitCode> signal_received();

}  // namespace distmnist
