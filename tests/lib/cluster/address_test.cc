#include "lib/cluster/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/wire/network_server.h"
#include "lib/wire/transport.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

// A TCP socket bound to a free port of 127.0.0.1 that listens only on request.
class LoopbackPort {
 public:
  explicit LoopbackPort(bool listening, int backlog = 8) : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    socklen_t size = sizeof(address);
    REQUIRE(getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    if (listening) REQUIRE(listen(descriptor_, backlog) == 0);
  }
  ~LoopbackPort() { close(descriptor_); }
  LoopbackPort(const LoopbackPort&) = delete;
  LoopbackPort& operator=(const LoopbackPort&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  int descriptor_;
  std::uint16_t port_ = 0;
};

bool has_ipv6_loopback() {
  const std::vector<std::string> local = local_addresses();
  return std::find(local.begin(), local.end(), "::1") != local.end();
}

}  // namespace

TEST_CASE("localhost and numeric addresses resolve") {
  CHECK(resolve_ip({"localhost", 2222}).ip == "127.0.0.1");
  CHECK(resolve_ip({"10.1.2.3", 2222}).ip == "10.1.2.3");
  CHECK(resolve_ip({"::1", 2222}).ip == "::1");
  CHECK(resolve_ip({"127.0.0.1", 1}).error.empty());
}

TEST_CASE("a name that does not resolve is reported as a value with the resolver's reason") {
  // .invalid never resolves (RFC 2606). A label with a leading dot is refused without a name server.
  for (const std::string host : {"no-such-host.invalid", ".not-a-name"}) {
    const Resolution resolution = resolve_ip({host, 2222});
    CHECK(!resolution);
    CHECK(resolution.ip.empty());
    CHECK(resolution.error.starts_with("cannot resolve host '" + host + "' of " + host + ":2222: "));
    CHECK(resolution.error.size() > ("cannot resolve host '" + host + "' of " + host + ":2222: ").size());
  }
}

TEST_CASE("this host's addresses include the loopback, and each address occurs once") {
  std::vector<std::string> local = local_addresses();
  CHECK(std::find(local.begin(), local.end(), "127.0.0.1") != local.end());
  for (const std::string& ip : local) CHECK(is_local_address(ip));
  std::sort(local.begin(), local.end());
  CHECK(std::adjacent_find(local.begin(), local.end()) == local.end());
}

TEST_CASE("all of 127.0.0.0/8 and ::1 are local, in any spelling") {
  for (const char* ip : {"127.0.0.1", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1"}) {
    CHECK(is_local_address(ip));
    CHECK(is_loopback_address(ip));
  }
}

TEST_CASE("foreign addresses and invalid texts are not local") {
  // 192.0.2.0/24, 203.0.113.0/24 and 2001:db8::/32 are for documentation only (RFC 5737, RFC 3849).
  for (const char* ip :
       {"192.0.2.1", "203.0.113.7", "2001:db8::1", "128.0.0.1", "localhost", "127.0.0.1.example.org", ""}) {
    INFO(ip);
    CHECK(!is_local_address(ip));
    CHECK(!is_loopback_address(ip));
  }
}

TEST_CASE("a task whose address belongs to a different host is refused with this host's addresses") {
  CHECK_NOTHROW(require_local_address({"ps", 0}, {"localhost", 2222}, "127.0.0.1"));
  CHECK_NOTHROW(require_local_address({"ps", 0}, {"0.0.0.0", 2222}, "0.0.0.0"));
  CHECK_NOTHROW(require_local_address({"ps", 0}, {"::", 2222}, "::"));
  const auto message = [](const HostPort& address) -> std::string {
    try {
      require_local_address({"worker", 1}, address, "192.0.2.9");
    } catch (const Error& error) {
      CHECK(error.code() == ExitCode::kUsage);
      return error.what();
    }
    return "no error";
  };
  const std::string named = message({"gpu-box", 2223});
  CHECK(named.starts_with("worker:1 cannot listen on gpu-box:2223 (192.0.2.9): this host has only the addresses "));
  for (const std::string& ip : local_addresses()) CHECK(named.find(ip) != std::string::npos);
  CHECK(named.find("; start worker:1 on its own host") != std::string::npos);
  CHECK(named.ends_with("set the address to listen on with --bind, like --bind=0.0.0.0"));
  CHECK(message({"192.0.2.9", 2223}).starts_with("worker:1 cannot listen on 192.0.2.9:2223: this host"));
}

TEST_CASE("endpoints have the spelling that the transport expects") {
  CHECK(tcp_endpoint("10.0.0.1", 2222) == "tcp://10.0.0.1:2222");
  CHECK(tcp_endpoint("::1", 2222) == "tcp://[::1]:2222");
  CHECK(same_host_endpoint("10.0.0.1", 2222) == "ipc://@distmnist-10.0.0.1-2222");
  CHECK(same_host_endpoint("::1", 2222) == "ipc://@distmnist-::1-2222");
}

TEST_CASE("a TCP probe distinguishes a listener from a closed port") {
  const LoopbackPort open(true);
  CHECK(probe_tcp("127.0.0.1", open.port(), 5000) == Probe::kListening);
  const LoopbackPort closed(false);
  CHECK(probe_tcp("127.0.0.1", closed.port(), 5000) == Probe::kRefused);
}

TEST_CASE("a probe of a listener that accepts no connection gives up at the deadline") {
  const LoopbackPort full(true, 0);
  // When the queue of new connections is full, the kernel stops answering. Its capacity depends on the kernel.
  std::vector<int> waiting;
  Probe probe = Probe::kListening;
  for (int i = 0; i < 20 && probe == Probe::kListening; ++i) {
    waiting.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(full.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(waiting.back(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
    probe = probe_tcp("127.0.0.1", full.port(), 100);
  }
  for (const int descriptor : waiting) close(descriptor);
  CHECK(probe == Probe::kTimeout);
}

TEST_CASE("a service that is not a ps is recognized by its answer") {
  {
    WireContext context;
    const LoopbackPort owned(false);
    const NetworkServer listener({.endpoints = {tcp_endpoint("127.0.0.2", owned.port())}});
    CHECK(foreign_greeting("127.0.0.2", owned.port(), 5000).empty());
    CHECK(find_ps({"127.0.0.2", owned.port()}).endpoint == tcp_endpoint("127.0.0.2", owned.port()));
  }
  const LoopbackPort silent(true);
  CHECK(foreign_greeting("127.0.0.1", silent.port(), 50) == "says nothing");
  const Listener none = find_ps({"127.0.0.1", silent.port()});
  CHECK(none.endpoint.empty());
  CHECK(none.why_not == kNoAnswer);
  const LoopbackPort closed(false);
  CHECK(find_ps({"127.0.0.1", closed.port()}).why_not == "cannot be reached (connection refused)");
}

TEST_CASE("an invalid address is unreachable") {
  CHECK(probe_tcp("localhost", 2222, 100) == Probe::kUnreachable);
  CHECK(probe_tcp("", 2222, 100) == Probe::kUnreachable);
}

TEST_CASE("a closed IPv6 port is refused") {
  if (!has_ipv6_loopback()) SKIP_CASE("this host has no IPv6 loopback");
  CHECK(probe_tcp("::1", 1, 5000) == Probe::kRefused);
}

TEST_CASE("the same-host probe finds the listener of our transport only while it exists") {
  // A port that this test owns gives a name that no other process uses.
  const LoopbackPort owned(false);
  CHECK(probe_same_host("127.0.0.1", owned.port()) == SameHost::kNobody);
  {
    const NetworkServer listener({.endpoints = {same_host_endpoint("127.0.0.1", owned.port())}});
    CHECK(probe_same_host("127.0.0.1", owned.port()) == SameHost::kTrusted);
    CHECK(probe_same_host("127.0.0.2", owned.port()) == SameHost::kNobody);
  }
  CHECK(probe_same_host("127.0.0.1", owned.port()) == SameHost::kNobody);
}

TEST_CASE("an impossible same-host name is not listening") {
  CHECK(probe_same_host(std::string(200, '1'), 2222) == SameHost::kNobody);
}

TEST_CASE("probe outcomes have texts for messages") {
  CHECK(to_string(Probe::kRefused) == "connection refused");
  CHECK(to_string(Probe::kTimeout) == "no answer");
}

}  // namespace distmnist
