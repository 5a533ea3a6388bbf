// ListeningSocket: where a server listens, and what the system says of who connects there.
#pragma once

#include <string>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/socket_user.h"
#include "lib/wire/sender.h"

namespace distmnist {

// A socket that listens at "tcp://10.0.0.1:2222", "tcp://[::]:2222" (of every family) or "ipc://@name" (a Unix socket
// in the abstract namespace). Non-blocking.
struct ListeningSocket {
  std::string endpoint;
  FileDescriptor socket;
  bool same_host = false;  // a Unix socket

  // Error: kConflict where the address is in use, kUsage where it cannot be listened at for another reason.
  static ListeningSocket open(const std::string& endpoint);
};

// A connection that has been accepted.
struct AcceptedSocket {
  FileDescriptor socket;
  std::string address;       // numeric, without the port; kThisHost over a Unix socket
  bool on_own_host = false;  // both ends are on this host
  int user = kNoUser;        // over a Unix socket: whose process it is
  int error = 0;             // of errno, where there is none: EAGAIN, EMFILE ...

  explicit operator bool() const { return static_cast<bool>(socket); }
};

// The next connection that waits; never blocks.
AcceptedSocket accept_from(const ListeningSocket& listening);

}  // namespace distmnist
