// PsLink: a worker's line to one ps: the socket and address that the WorkerSession and its Exchange know nothing of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "lib/cluster/address.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/ps/client/worker_session.h"
#include "lib/wire/transport.h"

namespace distmnist {

inline constexpr TimeMs kTryEveryMs = 200;   // to connect
inline constexpr TimeMs kLookEveryMs = 200;  // at what has come through
// What has to come through for a connection not to be silent. ZeroMQ's heartbeats, which the kernel of a host takes
// even where the ps itself is stopped, are far less.
inline constexpr std::uint64_t kProgressBytes = 4096;

struct PsAddress {
  HostPort address;
  std::string fixed_endpoint;      // of a ps in this process; empty: it is looked for at the address
  std::optional<ClientKeys> keys;  // of this worker and this ps, where the cluster has keys
};

class PsLink : public ExchangeActions {
 public:
  // To ps number `ps`. The context outlives it.
  PsLink(WireContext& context, std::size_t ps, PsAddress address);

  // Null while there is no connection.
  ClientSocket* socket() { return socket_ ? &*socket_ : nullptr; }
  const std::string& endpoint() const { return endpoint_; }
  const std::optional<ClientKeys>& keys() const { return address_.keys; }
  std::int64_t sent_bytes() const { return sent_bytes_; }
  std::int64_t received_bytes() const { return received_bytes_; }
  // monotonic_s() when the last parameters began to come, since it was last reset; nothing: none came.
  std::optional<double> first_values_s() const { return first_values_s_; }
  void reset_first_values() { first_values_s_.reset(); }

  // Hands what has come to the session. Connects where its exchange asks for it and somebody listens; looks whether the
  // connection is whole, and moves.
  void tend(WorkerSession& session, TimeMs now);

  void send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) override;
  void reconnect() override;
  void report(const std::string& line) override;
  void notice(const std::string& line) override;

 private:
  void receive(WorkerSession& session, TimeMs now);
  void connect(Exchange& exchange, TimeMs now);
  void watch_progress(Exchange& exchange, TimeMs now);

  WireContext& context_;
  std::size_t ps_;
  PsAddress address_;
  std::string endpoint_;
  std::optional<ClientSocket> socket_;
  TimeMs last_try_ms_ = -kTryEveryMs;
  TimeMs looked_ms_ = -kLookEveryMs;
  std::uint64_t moved_bytes_ = 0;  // of the connection, when it was last looked at
  bool warned_ = false;
  std::int64_t sent_bytes_ = 0;
  std::int64_t received_bytes_ = 0;
  std::optional<double> first_values_s_;
};

}  // namespace distmnist
