// Message: a header and its payload; Received: one that came out of a socket; Route: where an answer goes.
#pragma once

#include <optional>
#include <string>

#include "lib/wire/frame.h"
#include "lib/wire/header.h"

namespace distmnist {

// A connected peer of a ServerSocket: the server's own name for the connection, good until it breaks, and never that of
// another one.
using Route = std::string;

struct Message {
  Header header;
  Frame payload;
  // Of a gradient that came out of a socket: whether its numbers may be applied (lib/wire/numbers.h). The thread that
  // reads looks at them, for they are in its cache; the ps's own thread has enough to do.
  std::optional<bool> may_be_applied = {};
};

// A message, or a fault with nothing more than the peer's protocol version (where it could be read).
struct Received {
  Message message;
  HeaderFault fault = HeaderFault::kNone;
};

// A header that has been checked, with the payload that it announces: checks the payload's checksum, where there is
// one, and looks at the numbers of a gradient.
Received make_received(const Header& header, Frame&& payload);

// Fills in what the header says of the payload, its checksum included where it has to have one: memory on one host is
// not checked; what crosses a network is, beyond TCP's 16-bit sum. Control records always are.
void seal(Message& message);

}  // namespace distmnist
