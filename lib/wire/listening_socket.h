// ListeningSocket: where a server listens, and what the system reports about the peers that connect.
#pragma once

#include <string>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/socket_user.h"
#include "lib/wire/sender.h"

namespace distmnist {

// A socket that listens at "tcp://10.0.0.1:2222", "tcp://[::]:2222" (all families) or "ipc://@name" (a Unix socket in
// the abstract namespace). Non-blocking.
struct ListeningSocket {
  std::string endpoint;
  FileDescriptor socket;
  bool same_host = false;  // a Unix socket

  // Throws Error: kConflict if the address is in use, kUsage if it cannot be listened at for a different reason.
  static ListeningSocket open(const std::string& endpoint);
};

// An accepted connection.
struct AcceptedSocket {
  FileDescriptor socket;
  std::string address;       // numeric, without the port; kThisHost over a Unix socket
  bool on_own_host = false;  // both ends are on this host
  int user = kNoUser;        // over a Unix socket: the user of the peer's process
  int error = 0;             // errno if there is no socket: EAGAIN, EMFILE ...

  explicit operator bool() const { return static_cast<bool>(socket); }
};

// The next waiting connection; never blocks.
AcceptedSocket accept_from(const ListeningSocket& listening);

}  // namespace distmnist
