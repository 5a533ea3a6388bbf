// Sender: what a ServerSocket knows about the sender of a message, beyond the content of the message.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "lib/wire/message.h"

namespace distmnist {

// The owner of the key that a peer has proved to have. A key belongs to one task or to the administrator.
struct KeyOwner {
  enum class Role : std::uint8_t { kPs, kWorker, kAdmin };
  Role role = Role::kWorker;
  std::uint32_t index = 0;  // of the task

  std::string to_string() const {  // "worker:1", "admin"
    return role == Role::kAdmin ? "admin" : fmt::format("{}:{}", role == Role::kPs ? "ps" : "worker", index);
  }
  auto operator<=>(const KeyOwner&) const = default;
};

inline constexpr std::string_view kThisHost = "this host";  // the address of a peer on a Unix socket

struct Sender {
  Route route;
  std::string address = "this process";  // "10.0.0.2" or kThisHost, for the log
  bool on_own_host = true;               // a process on this host
  std::optional<KeyOwner> key = {};      // if the server has keys
};

}  // namespace distmnist
