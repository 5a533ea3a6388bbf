// Message: a header and its payload. Received: a message that came from a socket. Route: the address for an answer.
#pragma once

#include <optional>
#include <string>

#include "lib/wire/frame.h"
#include "lib/wire/header.h"

namespace distmnist {

// A connected peer of a ServerSocket: the server's own name for the connection. It is valid until the connection breaks
// and is never reused.
using Route = std::string;

struct Message {
  Header header;
  Frame payload;
  // For a gradient that came from a socket: whether its numbers may be applied (lib/wire/numbers.h). The reading thread
  // checks them because they are in its cache, and because the ps's own thread is busy enough.
  std::optional<bool> may_be_applied = {};
};

// A message, or a fault with only the peer's protocol version (if it could be read).
struct Received {
  Message message;
  HeaderFault fault = HeaderFault::kNone;
};

// Combines a checked header with the payload that it announces. Checks the payload's checksum, if there is one, and the
// numbers of a gradient.
Received make_received(const Header& header, Frame&& payload);

// Fills in the header's fields about the payload, including its checksum if it needs one. Data within one host is not
// checked; data that crosses a network is, in addition to TCP's 16-bit sum. Control records are always checked.
void seal(Message& message);

}  // namespace distmnist
