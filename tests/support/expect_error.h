// Helpers that check an Error's exit code and the parts of its message that a user needs.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lib/base/error.h"

namespace distmnist {

// The Error that `action` throws, or nothing. Other exceptions are passed on and fail the test.
inline std::optional<Error> error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

// True if `action` throws an Error with this code whose message contains the text.
inline bool fails_with(ExitCode code, const std::string& text, const std::function<void()>& action) {
  const auto error = error_of(action);
  return error && error->code() == code && std::string(error->what()).find(text) != std::string::npos;
}

}  // namespace distmnist
