// Sockets of ZeroMQ, and the only user of it: a worker's ClientSocket (DEALER) to each ps, and what a ps has for
// workers of its own process. Sending and receiving never block; waiting is poll(), with a limit. Sockets belong to one
// thread.
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
inline constexpr int kHeartbeatIntervalMs = 5'000;  // ZMTP's own, of an idle connection: a tenth of what a ps bears

// Error (kSecurity) where this ZeroMQ has no CURVE, so that its sockets cannot use keys.
void require_curve();

enum class KeyTrouble {
  kNone,
  kUnknown,    // the ps does not know the key of this side, or has not the one that this side expects
  kNoneThere,  // this side has keys, and the ps has none
  kNoneHere,   // ... and the other way round
};

// One connection to a ps. It is not made again when it breaks: what was under way is lost then, and who owns it knows.
class ClientSocket {
 public:
  // "tcp://10.0.0.1:2222", "inproc://name", or "ipc://@name", where it waits up to kSameHostMs and makes sure that a
  // process of this user or of root is at the other end before anything is sent. With keys it speaks CURVE: to nobody
  // but the ps that has the secret of `keys->server`. Error: as require_curve().
  ClientSocket(WireContext& context, const std::string& endpoint, const std::optional<ClientKeys>& keys = std::nullopt);
  ~ClientSocket();
  ClientSocket(ClientSocket&&) noexcept;
  ClientSocket& operator=(ClientSocket&&) noexcept;

  std::optional<Received> receive();
  // False where nothing more can be queued; the message is dropped.
  bool send(Message&& message);
  // What is still queued will not be sent when the socket closes: borrowed memory may be written again right after.
  void discard();
  // Why there is no connection any more, "closed the connection"; empty while there is one or it is being made. What
  // came before can still be received.
  const std::string& broken();
  // What is wrong with the keys, so that another connection would break, too.
  KeyTrouble key_trouble() const;

  // Bytes that the other end's kernel has taken, and that have come from it; counted over TCP, else 0.
  std::uint64_t moved_bytes() const;

  // Waits until one of the sockets (null pointers are passed over) has a message or is broken, up to timeout_ms. A
  // signal ends the wait early.
  static void poll(const std::vector<ClientSocket*>& sockets, int timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr int kSameHostMs = 1'000;

}  // namespace distmnist
