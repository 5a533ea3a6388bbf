// user_at_other_end: the user of the process at the other end of a Unix socket, as reported by the kernel.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

namespace distmnist {

inline constexpr int kNoUser = -1;

// The user of the process at the other end. For the side that has connected, this is the process that called listen().
// kNoUser if the descriptor is not a Unix socket with a peer.
inline int user_at_other_end(int socket) {
  int family = 0;
  socklen_t size = sizeof family;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || family != AF_UNIX) return kNoUser;
  ucred credentials{};
  size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return kNoUser;
  return credentials.pid == 0 ? kNoUser : static_cast<int>(credentials.uid);
}

// Whether processes of `user` are trusted over a Unix socket: those of our own user and of root.
inline bool is_trusted_user(int user) {
  return user == 0 || user == static_cast<int>(geteuid());
}

}  // namespace distmnist
