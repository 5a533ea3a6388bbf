// Received: what came out of a socket.
#pragma once

#include "lib/wire/frame.h"
#include "lib/wire/header.h"

namespace distmnist {

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
