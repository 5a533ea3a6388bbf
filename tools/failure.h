// What an exception means for the process: the exit code and the sentence.
#pragma once

#include <string>

#include "lib/base/error.h"

namespace distmnist {

struct Failure {
  ExitCode code = ExitCode::kInternal;
  std::string what;
};

// Of the exception that is being handled; call it in a catch block. A lack of memory, threads or
// descriptors is kResources, whichever library reported it.
Failure failure_being_handled();

}  // namespace distmnist
