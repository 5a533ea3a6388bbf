// Messages over ZeroMQ: the only user of it. A ps has one ServerSocket (ROUTER), a worker a ClientSocket (DEALER) per
// ps. Sending and receiving never block; waiting is poll(), with a limit. Sockets belong to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/wire/frame.h"
#include "lib/wire/header.h"
#include "lib/wire/keys.h"
#include "lib/wire/sender.h"

namespace distmnist {

// ZeroMQ's context: its threads and sockets. One a process; outlives its sockets. Closing waits up to kLingerMs for
// messages under way. std::system_error where its threads cannot be started.
class WireContext {
 public:
  WireContext();
  ~WireContext();
  WireContext(const WireContext&) = delete;
  WireContext& operator=(const WireContext&) = delete;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

inline constexpr int kLingerMs = 1000;

// What came in: a message, or a fault with nothing more than the peer's protocol version (where it could be read).
struct Received {
  Message message;
  HeaderFault fault = HeaderFault::kNone;
};

class ServerSocket {
 public:
  // Binds every endpoint ("tcp://127.0.0.1:2222", "ipc://@name", "inproc://name"), the first one always. An endpoint
  // after the first that cannot be bound is left out; bound() tells. Error (kConflict) where the first is in use,
  // kUsage where it cannot be bound for another reason.
  ServerSocket(WireContext& context, const std::vector<std::string>& endpoints);
  ~ServerSocket();

  const std::vector<std::string>& bound() const;

  // True when a message is there; waits up to timeout_ms. A signal ends the wait early.
  bool poll(int timeout_ms);
  std::optional<Received> receive(Sender& from);
  // False where the peer is gone or takes nothing more; the message is dropped.
  bool send(const Route& to, Message&& message);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Error (kSecurity) where this ZeroMQ has no CURVE, so that its sockets cannot use keys.
void require_curve();

class ClientSocket {
 public:
  // With keys it speaks CURVE: to nobody but the ps that has the secret of `keys->server`. Error: as require_curve().
  ClientSocket(WireContext& context, const std::string& endpoint, const std::optional<ClientKeys>& keys = std::nullopt);
  ~ClientSocket();
  ClientSocket(ClientSocket&&) noexcept;
  ClientSocket& operator=(ClientSocket&&) noexcept;

  std::optional<Received> receive();
  // False where nothing more can be queued; the message is dropped.
  bool send(Message&& message);
  // What is still queued will not be sent when the socket closes: borrowed memory may be written anew right after.
  void discard();

  // Waits until one of the sockets (null pointers are passed over) has a message, up to timeout_ms. A signal ends the
  // wait early.
  static void poll(const std::vector<ClientSocket*>& sockets, int timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace distmnist
