// NetworkServer: a ServerSocket for peers that speak ZeroMQ's protocol (ZMTP) over TCP and Unix sockets.
//
// Why not ZeroMQ's own ROUTER: it trusts the peer's routing id and ends the process if two connections get the same
// id, which a peer can cause. It also cannot cut a peer off, does not count its connections, and stores the parts of a
// message without limit. Here a connection is a number that is never used twice, and everything that a peer can make
// the server hold has a limit below. docs/security.md describes the consequences.
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

inline constexpr TimeMs kHandshakeMs = 2'000;  // from accepting a connection to the end of its handshake
inline constexpr TimeMs kFirstWordMs = 5'000;  // from accepting a connection to keep()
inline constexpr TimeMs kIdleMs = 60'000;      // silence, heartbeats included, after which a connection is closed
inline constexpr TimeMs kStalledMs = 30'000;   // in which a peer reads nothing although data is waiting

inline constexpr std::size_t kMaxUnprovenMessages = 16;      // before keep(); above it, the connection is closed
inline constexpr std::size_t kMaxUnprovenBytes = 64u << 10;  // the same, handshake and heartbeats included
inline constexpr std::size_t kMaxUnproven = 256;             // connections not kept; above it, the oldest is closed
inline constexpr std::size_t kMaxUnprovenOfAddress = 128;    // the same for one address
// For one peer, received and not taken; at the limit, the peer is not read from.
inline constexpr std::size_t kMaxWaitingBytes = 16u << 20, kMaxWaitingMessages = 256;
inline constexpr std::size_t kMaxNewcomersBytes = 16u << 20;  // for all peers that are not kept, received and not taken
inline constexpr std::size_t kMaxUnsentMessages = 4096;       // to a peer; more are dropped
inline constexpr std::size_t kMaxUnsentBytes = 64u << 20;     // to a peer; above it nothing is read from it
inline constexpr std::size_t kMaxUnsentReplies = 64u << 10;   // the same, for answers to its heartbeats
inline constexpr int kReservedDescriptors = 64;               // of the process, not for connections
inline constexpr int kMaxConnections = 16'384;

struct ServerOptions {
  // "tcp://10.0.0.1:2222", "ipc://@name". The first one is required. If another cannot be listened at, it is omitted.
  std::vector<std::string> endpoints = {};
  // Whether a peer at this numeric address may connect over TCP; null: all may. Called on the server's own thread.
  std::function<bool(std::string_view address)> lets_in = nullptr;
  // Which key owners may connect, on any endpoint; empty: there are no keys.
  std::optional<ServerKeys> keys = std::nullopt;
  // Called when a peer was not admitted or was cut off, with its address and the reason. Runs on the server's own
  // thread.
  std::function<void(const std::string& address, const std::string& why)> refused = nullptr;
  int max_connections = 0;  // 0: as many as the descriptor limit allows, at most kMaxConnections
};

class NetworkServer : public ServerSocket {
 public:
  // Throws Error: kConflict if the first endpoint is in use, kUsage if it cannot be listened at for a different reason.
  // Throws std::system_error if its thread cannot be started.
  explicit NetworkServer(ServerOptions options);
  // Waits up to kLingerMs for unsent data.
  ~NetworkServer() override;

  const std::vector<std::string>& bound() const override;
  // The omitted endpoints, each with the reason.
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
