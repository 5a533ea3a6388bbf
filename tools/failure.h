// What an exception means for the process: the exit code and the sentence.
#pragma once

#include <string>

#include "lib/base/error.h"

namespace distmnist {

struct Failure {
  ExitCode code = ExitCode::kInternal;
  std::string what;
};

// Of the exception that is being handled; call it in a catch block. What the system lacks is kResources, whoever found
// out: memory, threads, descriptors.
Failure failure_being_handled();

}  // namespace distmnist
