// Addresses: those of this host and of peers: name lookup, endpoints for the transport, and short probes of listeners.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cluster/cluster_spec.h"

namespace distmnist {

// The result of a name lookup: an address, or why there is none.
struct Resolution {
  std::string ip;     // "127.0.0.1", "::1", "fe80::1%eth0"; empty after a failure
  std::string error;  // "cannot resolve host 'ps-0' of ps-0:2222: Name or service not known"; empty after a success

  explicit operator bool() const { return !ip.empty(); }
};

// The numeric address of a host: its first IPv4 address, or its first IPv6 address if it has none, so that all tasks
// agree. A failure is returned as a value because the name of a starting host may appear later: callers retry. Blocks
// as long as the resolver does (seconds if a name server does not answer).
Resolution resolve_ip(const HostPort& address);

// All addresses of a host, IPv4 and IPv6, each once; empty if its name is unknown. Blocks as above.
std::vector<std::string> resolve_all_ips(const HostPort& address);

// The addresses of this host's interfaces, IPv4 before IPv6, each once.
std::vector<std::string> local_addresses();

// Whether `ip` (numeric) is an address of this host: of one of its interfaces, or in 127.0.0.0/8, or ::1.
bool is_local_address(std::string_view ip);
// 127.0.0.0/8 or ::1: reachable from this host only.
bool is_loopback_address(std::string_view ip);

// Whether a socket on this host can listen there: at one of its own addresses, or at 0.0.0.0 or ::, which mean all of
// them.
bool can_listen_at(std::string_view ip);

// Throws Error (kUsage) if `task` should listen at `address`, which resolved to `ip`, and this host does not have that
// address. The message lists the addresses that it has.
void require_local_address(const TaskId& task, const HostPort& address, std::string_view ip);

// "tcp://10.0.0.1:2222", "tcp://[::1]:2222".
std::string tcp_endpoint(std::string_view ip, std::uint16_t port);

// "ipc://@distmnist-10.0.0.1-2222": a Unix socket in the abstract namespace, in addition to the TCP port of the same
// task. The name vanishes with its listener, and no process can unlink it to steal it.
std::string same_host_endpoint(std::string_view ip, std::uint16_t port);

enum class Probe {
  kListening,    // a process accepts connections
  kRefused,      // the host is up, but no process listens
  kUnreachable,  // no route, or not an address
  kTimeout,      // no answer in time
};

// "listening", "connection refused", "unreachable", "no answer".
std::string_view to_string(Probe probe);

// Connects to a TCP port and closes the connection at once; waits at most timeout_ms.
Probe probe_tcp(std::string_view ip, std::uint16_t port, int timeout_ms);

// The listener at same_host_endpoint(ip, port) in this network namespace. Any user may take such a name, so the kernel
// is asked for the user of its process. Never blocks.
enum class SameHost {
  kNobody,   // no listener, or one that does not accept this process: root's, if this process is not root's
  kTrusted,  // a process of our own user, or of root
  kForeign,  // of another user
};
SameHost probe_same_host(std::string_view ip, std::uint16_t port);

// What listens at a TCP port: empty if it starts like a ZeroMQ peer; otherwise what it is or does: "is a web server",
// "speaks TLS", "says nothing". Waits at most timeout_ms.
std::string foreign_greeting(std::string_view ip, std::uint16_t port, int timeout_ms);

// The text for a peer that accepts connections but does not answer like a ps.
inline constexpr std::string_view kNoAnswer =
    "does not answer like a ps: another program or a different task listens there, or the ps is suspended";

// Where to connect to reach the task at an address.
struct Listener {
  std::string endpoint;   // empty if no ps listens
  std::string why_not;    // "cannot be reached (connection refused)", or why the host's name cannot be resolved
  std::string warning{};  // about a problem that does not prevent the connection
};

// The same-host endpoint if a ps listens there; otherwise the TCP one, if the peer there starts like a ps. Waits at
// most two seconds in addition to the name lookup.
Listener find_ps(const HostPort& address);

}  // namespace distmnist
