// Addresses of this host and of peers: look-up of names, endpoints for the transport, and short probes of who listens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cluster/cluster_spec.h"

namespace distmnist {

// What a name look-up answered: an address, or why there is none.
struct Resolution {
  std::string ip;     // "127.0.0.1", "::1", "fe80::1%eth0"; empty after a failure
  std::string error;  // "cannot resolve host 'ps-0' of ps-0:2222: Name or service not known"; empty after a success

  explicit operator bool() const { return !ip.empty(); }
};

// The numeric address of a host: its first IPv4 address, else its first IPv6 address, so that all tasks agree. A
// failure is a value because the name of a host that is just starting may appear later: callers retry. Blocks as long
// as the resolver does (seconds where a name server is silent).
Resolution resolve_ip(const HostPort& address);

// All addresses of a host, IPv4 and IPv6, each once; none where its name is unknown. Blocks as above.
std::vector<std::string> resolve_all_ips(const HostPort& address);

// The addresses of this host's interfaces, IPv4 before IPv6, each once.
std::vector<std::string> local_addresses();

// Whether `ip` (numeric) is an address of this host: of one of its interfaces, or in 127.0.0.0/8, or ::1.
bool is_local_address(std::string_view ip);
// 127.0.0.0/8 or ::1: reached from this host only.
bool is_loopback_address(std::string_view ip);

// Whether a socket of this host can listen there: at an address of its own, or at 0.0.0.0 or ::, which are all of them.
bool can_listen_at(std::string_view ip);

// Error (kUsage) when `task` is to listen at `address`, which resolved to `ip`, and this host has no such address. The
// message lists the addresses that it has.
void require_local_address(const TaskId& task, const HostPort& address, std::string_view ip);

// "tcp://10.0.0.1:2222", "tcp://[::1]:2222".
std::string tcp_endpoint(std::string_view ip, std::uint16_t port);

// "ipc://@distmnist-10.0.0.1-2222": a Unix socket in the abstract namespace, beside the TCP port of the same task. The
// name vanishes with its listener, and nobody can unlink it to steal it.
std::string same_host_endpoint(std::string_view ip, std::uint16_t port);

enum class Probe {
  kListening,    // somebody accepts connections
  kRefused,      // the host is up, nobody listens
  kUnreachable,  // no route, or not an address
  kTimeout,      // no answer in time
};

// "listening", "connection refused", "unreachable", "no answer".
std::string_view to_string(Probe probe);

// Connects to a TCP port and closes at once; waits at most timeout_ms.
Probe probe_tcp(std::string_view ip, std::uint16_t port, int timeout_ms);

// Who listens at same_host_endpoint(ip, port) in this network namespace. Any user may take such a name, so the kernel
// is asked whose process it is. Never waits.
enum class SameHost {
  kNobody,   // or nobody who would take this process: one of root's, where this is not
  kTrusted,  // a process of our own user, or of root
  kForeign,  // of another user
};
SameHost probe_same_host(std::string_view ip, std::uint16_t port);

// What listens at a TCP port: empty if it begins like a ZeroMQ peer, otherwise what it is or does instead: "is a web
// server", "speaks TLS", "says nothing". Waits at most timeout_ms.
std::string foreign_greeting(std::string_view ip, std::uint16_t port, int timeout_ms);

// What is said of a peer that accepts connections and does not answer as a ps does.
inline constexpr std::string_view kNoAnswer =
    "does not answer like a ps: another program or a different task listens there, or the ps is suspended";

// Where to connect to reach the task at an address.
struct Listener {
  std::string endpoint;   // empty where nobody listens
  std::string why_not;    // "cannot be reached (connection refused)", or why the host's name cannot be resolved
  std::string warning{};  // of something that is wrong nevertheless
};

// The same-host endpoint where a ps listens there, else the TCP one, where the peer has to begin like a ps. Waits two
// seconds at most, beside what the look-up of the name takes.
Listener find_ps(const HostPort& address);

}  // namespace distmnist
