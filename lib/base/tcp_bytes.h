// How much a TCP connection has moved, as the kernel counts it.
#pragma once

#include <cstdint>

namespace distmnist {

// Bytes that the other end's kernel has taken, and that have come from it; both only grow. 0 where the descriptor is no
// TCP connection, or the kernel does not say.
std::uint64_t tcp_bytes_moved(int socket);

}  // namespace distmnist
