// What a peer of ZMTP says about itself in its handshake.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace distmnist {

// "DEALER": the value of Socket-Type in a list of names and values (rfc.zeromq.org/spec/23). Nothing where the list is
// not whole, or has it not exactly once. The bytes have to outlive it.
std::optional<std::string_view> socket_type_of(std::span<const std::byte> metadata);

}  // namespace distmnist
