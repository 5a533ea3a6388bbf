#include "lib/wire/transport.h"
#include "lib/wire/network_server.h"

#include <pthread.h>
#include <csignal>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/cluster/address.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/loopback.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

constexpr TimeMs kPatienceMs = 20'000;  // far more than anything here takes

Message floats_message(std::uint64_t sequence, const Floats& values) {
  trace::Peer peer;
  peer.sequence = sequence;
  return peer.push(0, values);
}
Message ping(std::uint64_t sequence) {
  trace::Peer peer;
  peer.sequence = sequence;
  return peer.plain(MessageType::kPing);
}

std::optional<Received> wait_for_message(ServerSocket& server, Sender& from) {
  for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < kPatienceMs;) {
    server.poll(100);
    if (auto received = server.receive(from)) {
      server.keep(from.route);
      return received;
    }
  }
  return std::nullopt;
}
std::optional<Received> wait_for_message(ClientSocket& client) {
  for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < kPatienceMs;) {
    ClientSocket::poll({&client}, 100);
    if (auto received = client.receive()) return received;
  }
  return std::nullopt;
}

Floats values_of(const Received& received) {
  const auto floats = received.message.payload.floats();
  return {floats.begin(), floats.end()};
}

// Sends signals to the thread that creates it, again and again, as long as it exists.
class SignalsAtThisThread {
 public:
  SignalsAtThisThread() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, &before_);
    sender_ = std::thread([this, target = pthread_self()] {
      while (!stop_) pthread_kill(target, SIGUSR1);
    });
  }
  ~SignalsAtThisThread() {
    stop_ = true;
    sender_.join();
    sigaction(SIGUSR1, &before_, nullptr);
  }
  SignalsAtThisThread(const SignalsAtThisThread&) = delete;
  SignalsAtThisThread& operator=(const SignalsAtThisThread&) = delete;

 private:
  std::atomic<bool> stop_ = false;
  struct sigaction before_ {};
  std::thread sender_;
};

// A server on a free TCP port and its same-host endpoint, like a ps.
struct Server {
  WireContext context;
  std::uint16_t port = free_port();
  std::string tcp = tcp_endpoint("127.0.0.1", port);
  std::string same_host = same_host_endpoint("127.0.0.1", port);
  NetworkServer socket{{.endpoints = {tcp, same_host}}};

  // True if a regular client's message arrives; messages that others sent before are skipped.
  bool serves() {
    ClientSocket client(context, tcp);
    client.send(ping(4711));
    Sender from;
    while (auto received = wait_for_message(socket, from)) {
      if (received->fault == HeaderFault::kNone && received->message.header.sequence == 4711) return true;
    }
    return false;
  }
  HeaderFault next_fault() {
    Sender from;
    const auto received = wait_for_message(socket, from);
    REQUIRE(received);
    return received->fault;
  }
};

// The two parts of a message as they are on the wire.
std::vector<std::string> parts_of(Message message) {
  message.header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
  const auto header = encode_header(message.header);
  return {std::string(text_of(header)), std::string(text_of(message.payload.bytes()))};
}

}  // namespace

TEST_CASE("messages are sent and answered over TCP and over the same-host path") {
  Server server;
  CHECK(server.socket.bound() == std::vector<std::string>{server.tcp, server.same_host});
  for (const std::string& endpoint : {server.tcp, server.same_host}) {
    ClientSocket client(server.context, endpoint);
    REQUIRE(client.send(floats_message(3, {1, 2, 3})));
    Sender from;
    const auto question = wait_for_message(server.socket, from);
    REQUIRE(question);
    CHECK(question->fault == HeaderFault::kNone);
    CHECK(question->message.header.type == MessageType::kPush);
    CHECK(question->message.header.sequence == 3);
    CHECK(values_of(*question) == Floats{1, 2, 3});

    REQUIRE(server.socket.send(from.route, floats_message(4, {5, 6})));
    const auto answer = wait_for_message(client);
    REQUIRE(answer);
    CHECK(answer->fault == HeaderFault::kNone);
    CHECK(values_of(*answer) == Floats{5, 6});
  }
}

TEST_CASE("a message without a payload is sent and answered") {
  Server server;
  ClientSocket client(server.context, server.same_host);
  client.send(ping(9));
  Sender from;
  const auto received = wait_for_message(server.socket, from);
  REQUIRE(received);
  CHECK(received->fault == HeaderFault::kNone);
  CHECK(received->message.header.sequence == 9);
  CHECK(received->message.payload.size() == 0);
  REQUIRE(server.socket.send(from.route, ping(10)));
  CHECK(wait_for_message(client)->message.header.sequence == 10);
}

TEST_CASE("frames of one mebibyte arrive complete and in order, and their memory can be used for the answer") {
  Server server;
  for (const std::string& endpoint : {server.tcp, server.same_host}) {
    ClientSocket client(server.context, endpoint);
    Sender from;
    client.send(ping(1));
    REQUIRE(wait_for_message(server.socket, from));
    server.socket.send(from.route, ping(2));
    REQUIRE(wait_for_message(client));  // it is kept by now
    std::vector<Floats> sent;
    for (int i = 0; i < 7; ++i) {
      Floats values(static_cast<std::size_t>(kMaxPayloadFloats));
      for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(k + 1000 * i);
      sent.push_back(std::move(values));
      Message message = floats_message(static_cast<std::uint64_t>(i), {});
      message.header.range_size = kMaxPayloadFloats;
      message.payload = Frame::borrow(std::as_bytes(std::span(sent.back())));  // sent without a copy
      REQUIRE(client.send(std::move(message)));
    }
    for (std::uint64_t i = 0; i < 7; ++i) {
      auto received = wait_for_message(server.socket, from);
      REQUIRE(received);
      REQUIRE(received->fault == HeaderFault::kNone);
      CHECK(received->message.header.sequence == i);
      CHECK(values_of(*received) == sent[i]);
      received->message.payload.floats()[0] = -1;
      REQUIRE(server.socket.send(from.route, std::move(received->message)));
    }
    for (std::size_t i = 0; i < 7; ++i) {
      const auto answer = wait_for_message(client);
      REQUIRE(answer);
      sent[i][0] = -1;
      CHECK(values_of(*answer) == sent[i]);
    }
  }
}

TEST_CASE("payloads have a checksum over a network and none on the same host; records always have one") {
  Server server;
  for (const std::string& endpoint : {server.tcp, server.same_host}) {
    ClientSocket client(server.context, endpoint);
    client.send(floats_message(1, {1, 2}));
    trace::Peer peer;
    client.send(peer.take({}));
    Sender from;
    const bool network = endpoint == server.tcp;
    const Header floats = wait_for_message(server.socket, from)->message.header;
    CHECK(((floats.flags & kPayloadChecksum) != 0) == network);
    CHECK(((floats.flags & kChecksumData) != 0) == network);
    CHECK((wait_for_message(server.socket, from)->message.header.flags & kPayloadChecksum) != 0);
  }
}

TEST_CASE("a payload that does not match its checksum is a fault") {
  Server server;
  RawDealer dealer(server.port);
  Message message = floats_message(1, {1, 2, 3});
  message.header.flags = kPayloadChecksum;
  message.header.payload_crc = 12345;
  dealer.send(parts_of(std::move(message)));
  CHECK(server.next_fault() == HeaderFault::kChecksum);
  CHECK(server.serves());
}

TEST_CASE("after a message without exactly two parts nothing more is accepted from its sender") {
  Server server;
  const std::vector<std::string> good = parts_of(ping(1));
  for (const auto& parts : std::vector<std::vector<std::string>>{{good[0]},
                                                                 {good[0], "", ""},
                                                                 {"", good[0], ""},
                                                                 {good[0], "", good[0], "", "x"},
                                                                 {""},
                                                                 {"", "", "", "", ""}}) {
    RawDealer dealer(server.port);
    dealer.send(good);
    CHECK(server.next_fault() == HeaderFault::kNone);
    dealer.send(parts);
    CHECK(server.next_fault() == HeaderFault::kSize);
    dealer.send(good);
    CHECK_FALSE(server.socket.poll(50));
  }
}

TEST_CASE("a frame above one mebibyte ends only its sender's connection") {
  Server server;
  RawDealer dealer(server.port);
  dealer.send({parts_of(ping(1))[0], std::string(kMaxPayloadBytes + 1, 'x')});
  CHECK(dealer.hung_up());
  CHECK(server.serves());
}

TEST_CASE("random bytes, inside and outside ZeroMQ's protocol, do not harm a server") {
  Server server;
  Random random(4, 5);
  const auto random_bytes = [&](std::uint64_t below) {
    std::string bytes(random.below(below), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.below(256));
    return bytes;
  };
  for (int i = 0; i < 50; ++i) {
    RawConnection raw(server.port);
    raw.send(random_bytes(5000));
  }
  {
    RawConnection half(server.port);  // a greeting followed by nonsense
    half.send(std::string("\xFF\0\0\0\0\0\0\0\x01\x7F", 10) + random_bytes(5000));
  }
  for (int i = 0; i < 100; ++i) {
    RawDealer dealer(server.port);
    std::vector<std::string> parts;
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) parts.push_back(random_bytes(300));
    dealer.send(parts);
    CHECK(server.next_fault() != HeaderFault::kNone);
  }
  CHECK(server.serves());
}

TEST_CASE("a message with a different version is distinguished from garbage") {
  Server server;
  ClientSocket client(server.context, server.tcp);
  Message message = ping(1);
  message.header.version = 9;
  client.send(std::move(message));
  Sender from;
  const auto received = wait_for_message(server.socket, from);
  REQUIRE(received);
  CHECK(received->fault == HeaderFault::kVersion);
  CHECK(received->message.header.version == 9);
}

TEST_CASE("waiting ends at its limit, and receiving never waits") {
  Server server;
  ClientSocket client(server.context, server.tcp);
  Sender from;
  CHECK_FALSE(server.socket.receive(from).has_value());
  CHECK_FALSE(client.receive().has_value());
  CHECK_FALSE(server.socket.poll(10));
  ClientSocket::poll({nullptr, &client, nullptr}, 10);
  ClientSocket::poll({nullptr}, 10);
  ClientSocket::poll({}, 10);
}

TEST_CASE("bytes over TCP are counted, and those within a host are not") {
  Server server;
  constexpr std::size_t kSize = 1u << 20;
  for (const std::string& endpoint : {server.tcp, server.same_host}) {
    ClientSocket client(server.context, endpoint);
    Sender from;
    client.send(ping(1));
    REQUIRE(wait_for_message(server.socket, from));
    server.socket.send(from.route, ping(1));
    REQUIRE(wait_for_message(client));  // it is kept by then and may send any amount
    CHECK(client.broken().empty());
    const std::uint64_t before = client.moved_bytes();
    client.send(floats_message(2, Floats(kSize / sizeof(float))));
    REQUIRE(wait_for_message(server.socket, from));
    const std::uint64_t moved = client.moved_bytes() - before;
    if (endpoint == server.tcp) {
      CHECK(moved >= kSize / 2);  // the kernel may not yet know of everything that was read
      CHECK(moved < 2 * kSize);
    } else {
      CHECK(moved == 0);
    }
  }
}

TEST_CASE("signals do not interrupt messages") {
  Server server;
  ClientSocket client(server.context, server.same_host);
  const SignalsAtThisThread signals;
  for (std::uint64_t sequence = 1; sequence <= 20'000; ++sequence) {
    REQUIRE(client.send(floats_message(sequence, {1, 2, 3})));
    Sender from;
    const auto received = wait_for_message(server.socket, from);
    REQUIRE(received);
    REQUIRE(received->fault == HeaderFault::kNone);
    REQUIRE(received->message.header.sequence == sequence);
    REQUIRE(values_of(*received) == Floats{1, 2, 3});
  }
}

TEST_CASE("one wait covers several connections") {
  Server first, second;
  ClientSocket to_first(first.context, first.tcp), to_second(first.context, second.tcp);
  to_second.send(ping(1));
  Sender from;
  REQUIRE(wait_for_message(second.socket, from));
  second.socket.send(from.route, ping(2));
  const TimeMs began = monotonic_ms();
  ClientSocket::poll({&to_first, &to_second}, static_cast<int>(kPatienceMs));
  CHECK(monotonic_ms() - began < kPatienceMs);
  CHECK_FALSE(to_first.receive().has_value());
  CHECK(wait_for_message(to_second)->message.header.sequence == 2);
}

TEST_CASE("a reply to a peer that has gone is reported as not sent") {
  Server server;
  Sender from;
  {
    ClientSocket client(server.context, server.tcp);
    client.send(ping(1));
    REQUIRE(wait_for_message(server.socket, from));
  }
  bool sent = true;
  for (const TimeMs began = monotonic_ms(); sent && monotonic_ms() - began < kPatienceMs;) {
    server.socket.poll(20);
    sent = server.socket.send(from.route, ping(2));
  }
  CHECK_FALSE(sent);
  CHECK_FALSE(server.socket.send("nobody", ping(3)));
  CHECK(server.serves());
}

TEST_CASE("a broken connection is reported and not made again") {
  WireContext context;
  const std::uint16_t port = free_port();
  const auto breaks = [](ClientSocket& client) {
    for (const TimeMs began = monotonic_ms(); client.broken().empty() && monotonic_ms() - began < kPatienceMs;) {
      ClientSocket::poll({&client}, 100);
    }
    return client.broken();
  };
  ClientSocket early(context, tcp_endpoint("127.0.0.1", port));
  early.send(ping(1));
  CHECK(breaks(early) == "cannot be connected to");
  for (const std::string& endpoint : {tcp_endpoint("127.0.0.1", port), same_host_endpoint("127.0.0.1", port)}) {
    std::optional<NetworkServer> server;
    server.emplace(ServerOptions{.endpoints = {endpoint}});
    ClientSocket client(context, endpoint);
    client.send(ping(2));
    Sender from;
    REQUIRE(wait_for_message(*server, from));
    CHECK(client.broken().empty());
    server.reset();
    CHECK(breaks(client) == "closed the connection");
    server.emplace(ServerOptions{.endpoints = {endpoint}});
    client.send(ping(3));
    CHECK_FALSE(server->poll(300));
  }
}

TEST_CASE("a port in use is a conflict, an address of a different host a usage error") {
  Server server;
  CHECK(fails_with(ExitCode::kConflict, server.tcp, [&] { NetworkServer second({.endpoints = {server.tcp}}); }));
  SilentListener foreign;
  const std::string taken = tcp_endpoint("127.0.0.1", foreign.port());
  CHECK(fails_with(ExitCode::kConflict, taken, [&] { NetworkServer second({.endpoints = {taken}}); }));
  CHECK(fails_with(ExitCode::kUsage, "tcp://192.0.2.1:2222",  // an address for documentation (RFC 5737)
                   [&] { NetworkServer second({.endpoints = {"tcp://192.0.2.1:2222"}}); }));
}

TEST_CASE("if the same-host name is in use, TCP still serves") {
  Server server;
  const std::string other = tcp_endpoint("127.0.0.1", free_port());
  NetworkServer second({.endpoints = {other, server.same_host}});
  CHECK(second.bound() == std::vector<std::string>{other});
}

TEST_CASE("closing waits for queued messages unless they are to be discarded") {
  const auto time_to_close = [](bool discard) {
    SilentListener silent;  // nothing can be sent before the handshake
    TimeMs began = 0;
    {
      WireContext context;
      ClientSocket client(context, tcp_endpoint("127.0.0.1", silent.port()));
      client.send(ping(1));
      if (discard) client.discard();
      began = monotonic_ms();
    }
    return monotonic_ms() - began;
  };
  CHECK(time_to_close(true) < time_to_close(false));
}

}  // namespace distmnist
