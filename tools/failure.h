// Failure: maps an exception to the exit code and the message of the process.
#pragma once

#include <string>

#include "lib/base/error.h"

namespace distmnist {

struct Failure {
  ExitCode code = ExitCode::kInternal;
  std::string what;
};

// For the exception being handled; call it in a catch block. A lack of memory, threads or descriptors is kResources,
// whichever library reported it.
Failure failure_being_handled();

}  // namespace distmnist
