// PsLink: a worker's line to one ps: its Exchange, and the socket and address that the Exchange knows nothing of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "lib/cluster/address.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/ps/exchange.h"
#include "lib/wire/transport.h"

namespace distmnist {

// Takes values that come in: slot 0 parameters, else a slot of a snapshot. Valid during the call.
using ValuesSink = std::function<void(std::size_t slot, Range, std::span<const float>)>;

inline constexpr TimeMs kTryEveryMs = 200;   // to connect
inline constexpr TimeMs kLookEveryMs = 200;  // at what has come through
// What has to come through for a connection not to be silent. ZeroMQ's heartbeats, which the kernel of a host takes
// even where the ps itself is stopped, are far less.
inline constexpr std::uint64_t kProgressBytes = 4096;

class PsLink : public ExchangeActions {
 public:
  // `fixed_endpoint`: of a ps in this process; empty: it is looked for at the address. Context and sink outlive it; the
  // sink may be another one at each call. `keys`: those of this worker and this ps, where the cluster has keys.
  PsLink(WireContext& context, HostPort address, std::string fixed_endpoint, ExchangeConfig config,
         const ValuesSink& sink, std::optional<ClientKeys> keys = std::nullopt);

  // Null while there is no connection.
  ClientSocket* socket() { return socket_ ? &*socket_ : nullptr; }
  const std::string& endpoint() const { return endpoint_; }
  std::int64_t sent_bytes() const { return sent_bytes_; }
  std::int64_t received_bytes() const { return received_bytes_; }

  // Hands what has come to the exchange.
  void receive(TimeMs now);
  // Connects where the exchange asks for it and somebody listens; looks whether the connection is whole, and moves.
  void tend(TimeMs now);

  void send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) override;
  void reconnect() override;
  void report(const std::string& line) override;
  void notice(const std::string& line) override;
  void values(std::size_t slot, Range range, std::span<const float> values) override { sink_(slot, range, values); }

 private:
  void connect(TimeMs now);
  void watch_progress(TimeMs now);

  WireContext& context_;
  HostPort address_;
  std::string fixed_endpoint_;
  std::optional<ClientKeys> keys_;
  const ValuesSink& sink_;
  std::string endpoint_;
  std::optional<ClientSocket> socket_;
  TimeMs last_try_ms_ = -kTryEveryMs;
  TimeMs looked_ms_ = -kLookEveryMs;
  std::uint64_t moved_bytes_ = 0;  // of the connection, when it was last looked at
  bool warned_ = false;
  std::int64_t sent_bytes_ = 0;
  std::int64_t received_bytes_ = 0;

 public:
  Exchange exchange;
};

}  // namespace distmnist
