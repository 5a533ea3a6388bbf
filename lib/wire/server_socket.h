// ServerSocket: what a ps listens with. Receiving and sending never block; waiting is poll(), with a limit. Belongs to
// one thread.
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

  // Where it listens.
  virtual const std::vector<std::string>& bound() const = 0;

  // True when a message is there; waits up to timeout_ms. A signal ends the wait early.
  virtual bool poll(int timeout_ms) = 0;
  virtual std::optional<Received> receive(Sender& from) = 0;
  // False where the peer is gone or takes nothing more; the message is dropped.
  virtual bool send(const Route& to, Message&& message) = 0;

  // The peer is one of ours. One that is not kept within kFirstWordMs is cut off, and may hold little meanwhile.
  virtual void keep(const Route& peer) = 0;
  // Ends the connection once what was sent before has gone out.
  virtual void cut(const Route& peer) = 0;
};

// For clients of this process: listens at "inproc://name" in the context that they share. Everybody is kept. Error
// (kConflict) where the name is taken.
std::unique_ptr<ServerSocket> make_in_process_server(WireContext& context, const std::string& endpoint);

}  // namespace distmnist
