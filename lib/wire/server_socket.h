// ServerSocket: the socket that a ps listens with. Receiving and sending never block. poll() waits, with a limit.
// Belongs to one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/wire/frame.h"
#include "lib/wire/message.h"
#include "lib/wire/sender.h"

namespace distmnist {

class WireContext;

class ServerSocket {
 public:
  virtual ~ServerSocket() = default;

  // The endpoints where it listens.
  virtual const std::vector<std::string>& bound() const = 0;

  // True when a message is available; waits up to timeout_ms. A signal ends the wait early.
  virtual bool poll(int timeout_ms) = 0;
  virtual std::optional<Received> receive(Sender& from) = 0;
  // False if the peer is gone or its queue is full; the message is dropped.
  virtual bool send(const Route& to, Message&& message) = 0;

  // The peer is one of ours. A peer that is not kept within kFirstWordMs is cut off, and may hold only a little until
  // then.
  virtual void keep(const Route& peer) = 0;
  // Ends the connection after everything sent before has gone out.
  virtual void cut(const Route& peer) = 0;
};

// For clients in this process: listens at "inproc://name" in the context that they share. Every peer is kept. Throws
// Error (kConflict) if the name is in use.
std::unique_ptr<ServerSocket> make_in_process_server(WireContext& context, const std::string& endpoint);

}  // namespace distmnist
