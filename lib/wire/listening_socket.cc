#include "lib/wire/listening_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace distmnist {
namespace {

constexpr int kBacklog = 512;
constexpr std::string_view kTcp = "tcp://", kAbstract = "ipc://@";

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// The owner of a name in the abstract namespace.
std::string holder_of(const SocketAddress& address) {
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const bool listens = socket && connect(socket.get(), address.get(), address.size) == 0;
  return listens ? fmt::format("a process of user {}", user_at_other_end(socket.get())) : "another process";
}

[[noreturn]] void fail_to_listen(const std::string& endpoint, int error) {
  fail(error == EADDRINUSE ? ExitCode::kConflict : ExitCode::kUsage,
       "cannot listen on {}: {}; stop the other process or choose another port", endpoint, std::strerror(error));
}

SocketAddress abstract_address(const std::string& endpoint) {
  const std::string_view name = std::string_view(endpoint).substr(kAbstract.size());
  SocketAddress out;
  auto* address = reinterpret_cast<sockaddr_un*>(&out.storage);
  if (name.size() + 1 > sizeof address->sun_path) fail_to_listen(endpoint, ENAMETOOLONG);
  address->sun_family = AF_UNIX;
  std::memcpy(address->sun_path + 1, name.data(), name.size());  // After the zero byte of an abstract name.
  out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return out;
}

SocketAddress tcp_address(const std::string& endpoint) {
  const std::string_view place = std::string_view(endpoint).substr(kTcp.size());
  const std::size_t colon = place.rfind(':');
  std::string host(place.substr(0, colon));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::string(place.substr(colon + 1)).c_str(), &hints, &found) != 0) {
    fail_to_listen(endpoint, EADDRNOTAVAIL);
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, freeaddrinfo);
  SocketAddress out;
  out.size = found->ai_addrlen;
  std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
  return out;
}

void set_option(int socket, int level, int option, int value) {
  setsockopt(socket, level, option, &value, sizeof value);
}

// Makes the kernel notice a peer whose host has vanished.
void set_tcp_options(int socket) {
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

// "10.0.0.1": an IPv4 address, even if it came through an IPv6 socket.
std::string numeric_text(const SocketAddress& address) {
  char text[NI_MAXHOST];
  if (getnameinfo(address.get(), address.size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return "?";
  const std::string_view mapped = "::ffff:";
  const std::string out = text;
  return out.starts_with(mapped) && out.find('.') != out.npos ? out.substr(mapped.size()) : out;
}

}  // namespace

ListeningSocket ListeningSocket::open(const std::string& endpoint) {
  ListeningSocket out;
  out.endpoint = endpoint;
  out.same_host = endpoint.starts_with(kAbstract);
  const SocketAddress address = out.same_host ? abstract_address(endpoint) : tcp_address(endpoint);
  const int family = address.get()->sa_family;
  out.socket = FileDescriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!out.socket) fail_to_listen(endpoint, errno);
  if (!out.same_host) set_option(out.socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (family == AF_INET6) set_option(out.socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  const bool listens =
      bind(out.socket.get(), address.get(), address.size) == 0 && listen(out.socket.get(), kBacklog) == 0;
  if (!listens && errno == EADDRINUSE && out.same_host) {
    fail(ExitCode::kConflict, "cannot listen on {}: {} already uses this name", endpoint, holder_of(address));
  }
  if (!listens) fail_to_listen(endpoint, errno);
  return out;
}

AcceptedSocket accept_from(const ListeningSocket& listening) {
  AcceptedSocket out;
  SocketAddress peer, own;
  peer.size = own.size = sizeof(sockaddr_storage);
  out.socket = FileDescriptor(accept4(listening.socket.get(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!out.socket) {
    out.error = errno;
    return out;
  }
  const int socket = out.socket.get();
  if (listening.same_host) {
    out.address = kThisHost;
    out.on_own_host = true;
    out.user = user_at_other_end(socket);
    return out;
  }
  set_tcp_options(socket);
  out.address = numeric_text(peer);
  const bool same_address = getsockname(socket, own.get(), &own.size) == 0 && numeric_text(own) == out.address;
  out.on_own_host = same_address || out.address.starts_with("127.") || out.address == "::1";
  return out;
}

}  // namespace distmnist
