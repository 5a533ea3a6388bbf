// Transport: ZeroMQ's sockets: a worker's ClientSocket (DEALER) to each ps, and the server socket of a ps for workers
// in its own process. Only these files use ZeroMQ. Sending and receiving never block. poll() waits, with a limit.
// Sockets belong to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/wire/frame.h"
#include "lib/wire/keys.h"
#include "lib/wire/message.h"
#include "lib/wire/server_socket.h"

namespace distmnist {

// ZeroMQ's context: its threads and sockets. One for each process; it must outlive its sockets. Closing waits up to
// kLingerMs for messages that are still being sent. Throws std::system_error if its threads cannot be started.
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
inline constexpr int kHeartbeatIntervalMs = 5'000;  // ZMTP's own, of an idle connection: a tenth of what a ps bears

// Throws Error (kSecurity) if this ZeroMQ does not have CURVE: its sockets cannot use keys.
void require_curve();

enum class KeyTrouble {
  kNone,
  kUnknown,    // the ps does not know this side's key, or does not have the key that this side expects
  kNoneThere,  // this side has keys, but the ps has none
  kNoneHere,   // the ps has keys, but this side has none
};

// One connection to a ps. It does not reconnect when it breaks: messages being sent are lost, and the owner can tell.
class ClientSocket {
 public:
  // "tcp://10.0.0.1:2222", "inproc://name", or "ipc://@name". For the last, it waits up to kSameHostMs and checks that
  // the process at the other end belongs to this user or root before anything is sent. With keys it speaks CURVE, only
  // to the ps that has the secret key for `keys->server`. Throws Error as require_curve() does.
  ClientSocket(WireContext& context, const std::string& endpoint, const std::optional<ClientKeys>& keys = std::nullopt);
  ~ClientSocket();
  ClientSocket(ClientSocket&&) noexcept;
  ClientSocket& operator=(ClientSocket&&) noexcept;

  std::optional<Received> receive();
  // False if the queue is full; the message is dropped.
  bool send(Message&& message);
  // Queued messages will not be sent when the socket closes: borrowed memory may be overwritten right after.
  void discard();
  // Why there is no longer a connection, "closed the connection"; empty while there is one or it is being made.
  // Messages that arrived before can still be received.
  const std::string& broken();
  // What is wrong with the keys, so that a new connection would break, too.
  KeyTrouble key_trouble() const;

  // Bytes that the other end's kernel has accepted plus bytes received from it. Counted over TCP; otherwise 0.
  std::uint64_t moved_bytes() const;

  // Waits up to timeout_ms until one of the sockets has a message or is broken. Null pointers are skipped. A signal
  // ends the wait early.
  static void poll(const std::vector<ClientSocket*>& sockets, int timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr int kSameHostMs = 1'000;

}  // namespace distmnist
