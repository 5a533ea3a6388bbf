// What an Error says: tests check its exit code and the words that a user needs.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lib/base/error.h"

namespace distmnist {

// The Error that `action` throws; none where it throws nothing. Other exceptions pass through and fail the test.
inline std::optional<Error> error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

// True where `action` throws an Error of this code whose message holds the text.
inline bool fails_with(ExitCode code, const std::string& text, const std::function<void()>& action) {
  const auto error = error_of(action);
  return error && error->code() == code && std::string(error->what()).find(text) != std::string::npos;
}

}  // namespace distmnist
