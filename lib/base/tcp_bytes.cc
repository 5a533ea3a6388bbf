#include "lib/base/tcp_bytes.h"

#include <linux/tcp.h>  // glibc's own tcp_info ends before these counts.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace distmnist {

std::uint64_t tcp_bytes_moved(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) return 0;
  return info.tcpi_bytes_acked + info.tcpi_bytes_received;
}

}  // namespace distmnist
