// Commands: the program's subcommands, one file each. All return the exit code or throw Error.
#pragma once

#include <optional>

#include "lib/base/error.h"

namespace distmnist {

struct Flags;
struct Place;

enum class Command { kTrain, kEvaluate, kPredict, kInspect, kVerify, kReset, kVariable, kKeygen, kDevices };

// A parameter server: serves until all workers are done, or with --ps_stay until a signal.
ExitCode serve_parameters(const Flags& flags, const Place& place);

// A worker of a cluster, or without a place a complete training run in this process. `started_s` is when the process
// started.
ExitCode train(const Flags& flags, const std::optional<Place>& place, double started_s);

ExitCode evaluate_command(const Flags& flags);
ExitCode predict_command(const Flags& flags);
ExitCode inspect_command(const Flags& flags);
ExitCode verify_command(const Flags& flags);
ExitCode reset_command(const Flags& flags);
ExitCode variable_command(const Flags& flags);
ExitCode keygen_command(const Flags& flags);
ExitCode devices_command(const Flags& flags);

}  // namespace distmnist
