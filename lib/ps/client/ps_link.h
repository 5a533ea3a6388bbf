// PsLink: a worker's connection to one ps: the socket and the address, which WorkerSession and Exchange do not deal
// with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "lib/base/side_thread.h"
#include "lib/cluster/address.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/ps/client/worker_session.h"
#include "lib/wire/transport.h"

namespace distmnist {

inline constexpr TimeMs kTryEveryMs = 200;   // between attempts to connect
inline constexpr TimeMs kLookEveryMs = 200;  // between checks of the bytes that have arrived
// Bytes that must arrive for a connection not to count as silent. ZeroMQ's heartbeats, which the kernel of a host
// accepts even if the ps itself is stopped, are far fewer.
inline constexpr std::uint64_t kProgressBytes = 4096;

struct PsAddress {
  HostPort address;
  std::string fixed_endpoint;      // for a ps in this process; empty: the ps is looked up at the address
  std::optional<ClientKeys> keys;  // for this worker and this ps, if the cluster has keys
};

class PsLink : public ExchangeActions {
 public:
  // Connects to ps number `ps`. The context must outlive the link.
  PsLink(WireContext& context, std::size_t ps, PsAddress address);

  // Null while there is no connection.
  ClientSocket* socket() { return socket_ ? &*socket_ : nullptr; }
  const std::string& endpoint() const { return endpoint_; }
  const std::optional<ClientKeys>& keys() const { return address_.keys; }
  std::int64_t sent_bytes() const { return sent_bytes_; }
  std::int64_t received_bytes() const { return received_bytes_; }
  // monotonic_s() when the last parameters began to arrive, since the last reset; empty if none have.
  std::optional<double> first_values_s() const { return first_values_s_; }
  void reset_first_values() { first_values_s_.reset(); }

  // Passes received messages to the session. Connects when the exchange asks for it and the ps listens. Checks that the
  // connection is intact and makes progress.
  void tend(WorkerSession& session, TimeMs now);

  void send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) override;
  void reconnect() override;
  void report(const std::string& line) override;
  void notice(const std::string& line) override;

 private:
  void receive(WorkerSession& session, TimeMs now);
  // Looks for the ps, and connects once it is found. A name server may take its time, which must stop nothing else.
  void search(Exchange& exchange, TimeMs now);
  void connect(Exchange& exchange, const Listener& listener, TimeMs now);
  void watch_progress(Exchange& exchange, TimeMs now);

  WireContext& context_;
  std::size_t ps_;
  PsAddress address_;
  std::string endpoint_;
  std::optional<ClientSocket> socket_;
  std::optional<Eventually<Listener>> search_;
  TimeMs last_try_ms_ = -kTryEveryMs;  // when the last search began
  TimeMs looked_ms_ = -kLookEveryMs;
  std::uint64_t moved_bytes_ = 0;  // over the connection, at the last check
  bool warned_ = false;
  std::int64_t sent_bytes_ = 0;
  std::int64_t received_bytes_ = 0;
  std::optional<double> first_values_s_;
};

}  // namespace distmnist
