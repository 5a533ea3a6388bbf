// Error: a mistake of the user or a problem of the machine, with the exit code that the process ends with.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/core.h>

namespace distmnist {

// Exit codes of the program. A scheduler may retry from 128 up.
enum class ExitCode : int {
  kOk = 0,
  kInternal = 1,
  kUsage = 2,      // command line or cluster description
  kData = 3,       // training data or checkpoint
  kVersion = 5,    // a different version, model or run
  kConflict = 6,   // port, task, chief, log_dir or key folder already taken
  kResources = 7,  // out of disk, memory, GPU memory, threads or files
  kDiverged = 8,   // a loss, gradient or parameter is not finite
  kSecurity = 9,
  kInterrupted = 130,  // SIGINT
  kLostPeer = 138,     // a peer was lost or a deadline passed
  kTerminated = 143,   // SIGTERM, after saving
};

// Thrown for a mistake of the user or a problem of the machine. The message is one sentence that says what was tried,
// with which value, and what to do next.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// Throws Error(code, message) with a fmt format string: fail(ExitCode::kData, "{}: {} bytes", path, n).
template <typename... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace distmnist
