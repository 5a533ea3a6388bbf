#include "lib/cluster/address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/join.h"
#include "lib/base/socket_user.h"

namespace distmnist {
namespace {

constexpr std::string_view kIpcScheme = "ipc://";
constexpr int kConnectMs = 500;
constexpr int kGreetingMs = 1000;
constexpr std::string_view kSaysNothing = "says nothing", kCloses = "closes the connection";
// The first ten bytes of a ZMTP 3 greeting, which a ZeroMQ peer sends as soon as it is connected
// (rfc.zeromq.org/spec/23).
constexpr std::string_view kZmtpSignature("\xff\0\0\0\0\0\0\0\1\x7f", 10);
constexpr std::chrono::milliseconds kSameHostPause{20};

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// The numeric text of an IPv4 or IPv6 address, with the scope of a link-local one; empty for any other family.
std::string numeric_text(const sockaddr* address) {
  if (address == nullptr || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) return {};
  const socklen_t size = address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  char text[NI_MAXHOST];
  return getnameinfo(address, size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0 ? text : "";
}

// The socket addresses of a numeric `ip`; empty if it is not one.
AddressList parse_numeric(std::string_view ip, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(std::string(ip).c_str(), std::to_string(port).c_str(), &hints, &found);
  return {status == 0 ? found : nullptr, freeaddrinfo};
}

// The usual spelling of a numeric address ("0:0::1" becomes "::1"); empty for anything else.
std::string canonical_ip(std::string_view ip) {
  const AddressList parsed = parse_numeric(ip, 0);
  return parsed ? numeric_text(parsed->ai_addr) : "";
}

// While no process listens on a port of this host, a connection to it can connect to itself: the kernel may choose the
// same port as its source, so both ends open at once.
bool met_itself(int descriptor) {
  sockaddr_storage own{}, peer{};
  socklen_t own_size = sizeof(own), peer_size = sizeof(peer);
  return getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &own_size) == 0 &&
         getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0 && own_size == peer_size &&
         std::memcmp(&own, &peer, own_size) == 0;
}

Probe outcome_of(int descriptor, int error) {
  switch (error) {
    case 0:
      return met_itself(descriptor) ? Probe::kRefused : Probe::kListening;
    case ECONNRESET:  // A process accepted the connection and closed it at once.
      return Probe::kListening;
    case ECONNREFUSED:
      return Probe::kRefused;
    case ETIMEDOUT:
      return Probe::kTimeout;
    default:
      return Probe::kUnreachable;
  }
}

// Waits until the descriptor is ready for one of `events`; false at the deadline.
bool wait_for(int descriptor, short events, int timeout_ms) {
  const TimeMs deadline = monotonic_ms() + timeout_ms;
  while (true) {
    pollfd entry{descriptor, events, 0};
    const TimeMs left_ms = std::max<TimeMs>(0, deadline - monotonic_ms());
    const int ready = poll(&entry, 1, static_cast<int>(left_ms));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// A connection, or why there is none.
struct Connection {
  FileDescriptor socket;
  int error = 0;  // errno; ETIMEDOUT at the deadline
};

Connection connect_tcp(std::string_view ip, std::uint16_t port, int timeout_ms) {
  const AddressList address = parse_numeric(ip, port);
  if (!address) return {{}, EADDRNOTAVAIL};
  Connection made{FileDescriptor(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))};
  const int descriptor = made.socket.get();
  if (!made.socket) {
    made.error = errno;
  } else if (connect(descriptor, address->ai_addr, address->ai_addrlen) != 0) {
    made.error = errno;
    if (made.error != EINPROGRESS) return made;
    if (!wait_for(descriptor, POLLOUT, timeout_ms)) {
      made.error = ETIMEDOUT;
      return made;
    }
    socklen_t size = sizeof(made.error);
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &made.error, &size);
  }
  return made;
}

// The first few dozen bytes received. nullopt: silent until the deadline; empty: the connection was closed.
std::optional<std::string> first_words(int descriptor, int timeout_ms) {
  if (!wait_for(descriptor, POLLIN, timeout_ms)) return std::nullopt;
  std::array<char, 40> bytes;
  const ssize_t size = recv(descriptor, bytes.data(), bytes.size(), 0);
  return std::string(bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
}

void say(int descriptor, std::string_view words) {
  // If it was not sent, there will be no answer.
  [[maybe_unused]] const ssize_t sent = ::send(descriptor, words.data(), words.size(), MSG_NOSIGNAL);
}

// Describes a peer that does not speak ZeroMQ from its first bytes.
std::string describe_greeting(std::string_view words) {
  if (words.empty()) return std::string(kCloses);
  if (words.starts_with("HTTP/") || words.starts_with('<')) return "is a web server";
  if (words.size() >= 2 && (words[0] == 0x15 || words[0] == 0x16) && words[1] == 0x03) return "speaks TLS";
  const auto end = std::ranges::find_if(words, [](char c) { return c < 0x20 || c > 0x7e; });
  if (end != words.begin()) return fmt::format("says '{}'", std::string_view(words.begin(), end));
  return "speaks a different protocol";
}

}  // namespace

Resolution resolve_ip(const HostPort& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  const AddressList list(found, freeaddrinfo);
  if (status != 0) {
    const char* const reason = status == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(status);
    return {"", fmt::format("cannot resolve host '{}' of {}: {}", address.host, address.to_string(), reason)};
  }
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
      if (entry->ai_family != family) continue;
      if (const std::string ip = numeric_text(entry->ai_addr); !ip.empty()) return {ip, ""};
    }
  }
  return {"", fmt::format("cannot resolve host '{}' of {}: it has no IP address", address.host, address.to_string())};
}

std::vector<std::string> resolve_all_ips(const HostPort& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  if (getaddrinfo(address.host.c_str(), nullptr, &hints, &first) != 0) return {};
  const AddressList list(first, freeaddrinfo);
  std::vector<std::string> found;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    const std::string ip = numeric_text(entry->ai_addr);
    if (!ip.empty() && std::ranges::find(found, ip) == found.end()) found.push_back(ip);
  }
  return found;
}

std::vector<std::string> local_addresses() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> list(first, freeifaddrs);
  std::vector<std::string> found;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
      if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != family) continue;
      const std::string ip = numeric_text(entry->ifa_addr);
      if (!ip.empty() && std::find(found.begin(), found.end(), ip) == found.end()) found.push_back(ip);
    }
  }
  return found;
}

bool is_loopback_address(std::string_view ip) {
  const std::string canonical = canonical_ip(ip);
  return canonical == "::1" || canonical.starts_with("127.");
}

bool is_local_address(std::string_view ip) {
  const std::string canonical = canonical_ip(ip);
  if (canonical.empty()) return false;
  if (is_loopback_address(canonical)) return true;
  const std::vector<std::string> local = local_addresses();
  return std::find(local.begin(), local.end(), canonical) != local.end();
}

bool can_listen_at(std::string_view ip) {
  return is_any_address(ip) || is_local_address(ip);
}

void require_local_address(const TaskId& task, const HostPort& address, std::string_view ip) {
  if (can_listen_at(ip)) return;
  const std::string resolved = address.host == ip ? "" : fmt::format(" ({})", ip);
  fail(ExitCode::kUsage,
       "{} cannot listen on {}{}: this host has only the addresses {}; start {} on its own host, correct its address, "
       "or, where others reach this host by an address that it does not have itself (NAT, a container's published "
       "port, a Kubernetes service), set the address to listen on with --bind, like --bind=0.0.0.0",
       task.to_string(), address.to_string(), resolved, join(local_addresses(), ", "), task.to_string());
}

std::string tcp_endpoint(std::string_view ip, std::uint16_t port) {
  return "tcp://" + HostPort{std::string(ip), port}.to_string();
}

std::string same_host_endpoint(std::string_view ip, std::uint16_t port) {
  return fmt::format("{}@distmnist-{}-{}", kIpcScheme, ip, port);
}

std::string_view to_string(Probe probe) {
  switch (probe) {
    case Probe::kListening:
      return "listening";
    case Probe::kRefused:
      return "connection refused";
    case Probe::kUnreachable:
      return "unreachable";
    case Probe::kTimeout:
      return "no answer";
  }
  return "unknown";
}

Probe probe_tcp(std::string_view ip, std::uint16_t port, int timeout_ms) {
  const Connection made = connect_tcp(ip, port, timeout_ms);
  return outcome_of(made.socket.get(), made.error);
}

std::string foreign_greeting(std::string_view ip, std::uint16_t port, int timeout_ms) {
  const Connection made = connect_tcp(ip, port, timeout_ms);
  if (made.error != 0) return std::string(kCloses);
  // A ps speaks first. Nothing is sent to it, so that it does not report a broken-off handshake.
  auto words = first_words(made.socket.get(), timeout_ms / 4);
  if (!words) {
    say(made.socket.get(), kZmtpSignature);
    words = first_words(made.socket.get(), timeout_ms / 4);
  }
  if (!words) {
    // A server that reads whole lines answers an empty one.
    say(made.socket.get(), "\r\n\r\n");
    words = first_words(made.socket.get(), timeout_ms / 2);
  }
  if (!words) return std::string(kSaysNothing);
  // The eight bytes in between are a length, which only older versions use.
  const bool zeromq = words->size() >= kZmtpSignature.size() && words->front() == kZmtpSignature.front() &&
                      (*words)[9] == kZmtpSignature.back();
  return zeromq ? "" : describe_greeting(*words);
}

SameHost probe_same_host(std::string_view ip, std::uint16_t port) {
  // ZeroMQ replaces the leading '@' with the zero byte of an abstract name and counts no byte after the name.
  std::string name = same_host_endpoint(ip, port).substr(kIpcScheme.size());
  name[0] = '\0';
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() > sizeof(address.sun_path)) return SameHost::kNobody;
  std::memcpy(address.sun_path, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return SameHost::kNobody;
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return SameHost::kNobody;
  const int user = user_at_other_end(socket.get());
  if (user == 0 && geteuid() != 0) return SameHost::kNobody;  // A ps of root accepts only root there.
  return is_trusted_user(user) ? SameHost::kTrusted : SameHost::kForeign;
}

Listener find_ps(const HostPort& address) {
  const Resolution resolved = resolve_ip(address);
  if (!resolved) return {{}, resolved.error};
  const std::string same_host = same_host_endpoint(resolved.ip, address.port);
  SameHost here = probe_same_host(resolved.ip, address.port);
  if (here == SameHost::kTrusted) return {same_host, {}};
  const Probe probe = probe_tcp(resolved.ip, address.port, kConnectMs);
  if (probe != Probe::kListening) return {{}, fmt::format("cannot be reached ({})", to_string(probe))};
  // A ps that is just starting binds TCP first and the same-host endpoint a moment later.
  if (is_local_address(resolved.ip)) std::this_thread::sleep_for(kSameHostPause);
  here = probe_same_host(resolved.ip, address.port);
  if (here == SameHost::kTrusted) return {same_host, {}};
  const std::string greeting = foreign_greeting(resolved.ip, address.port, kGreetingMs);
  if (greeting == kSaysNothing) return {{}, std::string(kNoAnswer)};
  if (greeting == kCloses) {
    return {{},
            "closes the connection: this host may not be on its allow list (see --allow), or another program listens "
            "there"};
  }
  if (!greeting.empty()) return {{}, fmt::format("is not a ps: what listens there {}", greeting)};
  Listener found{tcp_endpoint(resolved.ip, address.port), {}};
  if (here == SameHost::kForeign) {
    found.warning = fmt::format("{} belongs to a process of another user and is ignored", same_host);
  }
  return found;
}

}  // namespace distmnist
