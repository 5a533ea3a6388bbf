// NetworkServer: a ServerSocket for peers that speak ZeroMQ's protocol (ZMTP) over TCP and Unix sockets.
//
// Why not ZeroMQ's own ROUTER: it takes a peer's word for the peer's routing id, and ends the process where two
// connections come to have the same one, which a peer can bring about; it cannot cut a peer off, does not count its
// connections, and stores the parts of a message without end. Here a connection is a number that is never used twice,
// and everything a peer can make the server hold has a limit below. docs/security.md says what follows from that.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/wire/keys.h"
#include "lib/wire/server_socket.h"

namespace distmnist {

inline constexpr TimeMs kHandshakeMs = 2'000;  // from a connection to the end of its handshake
inline constexpr TimeMs kFirstWordMs = 5'000;  // from a connection to keep()
inline constexpr TimeMs kIdleMs = 60'000;      // silence, heartbeats included, after which a connection is closed
inline constexpr TimeMs kStalledMs = 30'000;   // a peer that takes nothing of what is to be sent to it

inline constexpr std::size_t kMaxUnprovenMessages = 16;      // of a connection before keep(); above it is closed
inline constexpr std::size_t kMaxUnprovenBytes = 64u << 10;  // the same, handshake and heartbeats included
inline constexpr std::size_t kMaxUnproven = 256;             // connections that are not kept; above it the oldest goes
inline constexpr std::size_t kMaxUnprovenOfAddress = 128;    // the same of one address
// Of a peer, received and not taken; then it is not read from.
inline constexpr std::size_t kMaxWaitingBytes = 16u << 20, kMaxWaitingMessages = 256;
inline constexpr std::size_t kMaxNewcomersBytes = 16u << 20;  // of all who are not kept, received and not taken
inline constexpr std::size_t kMaxUnsentMessages = 4096;       // to a peer; what is beyond is dropped
inline constexpr std::size_t kMaxUnsentBytes = 64u << 20;     // to a peer; above it nothing is read from it
inline constexpr std::size_t kMaxUnsentReplies = 64u << 10;   // the same, of answers to its heartbeats
inline constexpr int kReservedDescriptors = 64;               // of the process, that connections leave to others
inline constexpr int kMaxConnections = 16'384;

struct ServerOptions {
  // "tcp://10.0.0.1:2222", "ipc://@name". The first one always; another that cannot be listened at is left out.
  std::vector<std::string> endpoints = {};
  // Whether a peer at this numeric address is let in over TCP; null: everybody. Called by the server's own thread.
  std::function<bool(std::string_view address)> lets_in = nullptr;
  // Who is let in, over whatever; nothing: there are no keys.
  std::optional<ServerKeys> keys = std::nullopt;
  // A peer was not let in, or was cut off: its address, and why. Called by the server's own thread.
  std::function<void(const std::string& address, const std::string& why)> refused = nullptr;
  int max_connections = 0;  // 0: as many as the limit on descriptors leaves, at most kMaxConnections
};

class NetworkServer : public ServerSocket {
 public:
  // Error: kConflict where the first endpoint is in use, kUsage where it cannot be listened at for another reason.
  // std::system_error where its thread cannot be started.
  explicit NetworkServer(ServerOptions options);
  // Waits up to kLingerMs for what is still to be sent.
  ~NetworkServer() override;

  const std::vector<std::string>& bound() const override;
  // The endpoints that were left out, and why.
  const std::vector<std::pair<std::string, std::string>>& left_out() const;

  bool poll(int timeout_ms) override;
  std::optional<Received> receive(Sender& from) override;
  bool send(const Route& to, Message&& message) override;
  void keep(const Route& peer) override;
  void cut(const Route& peer) override;

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace distmnist
