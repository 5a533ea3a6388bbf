// Metadata: what a ZMTP peer says about itself in its handshake.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace distmnist {

// The value of Socket-Type, such as "DEALER", in a list of names and values (rfc.zeromq.org/spec/23). Empty if the list
// is incomplete or does not have it exactly once. The bytes must outlive the result.
std::optional<std::string_view> socket_type_of(std::span<const std::byte> metadata);

}  // namespace distmnist
