// tcp_bytes_moved: how many bytes a TCP connection has transferred, as counted by the kernel.
#pragma once

#include <cstdint>

namespace distmnist {

// Bytes that the other end's kernel has accepted plus bytes received from it; the sum never decreases. 0 if the
// descriptor is not a TCP connection, or the kernel does not report it.
std::uint64_t tcp_bytes_moved(int socket);

}  // namespace distmnist
