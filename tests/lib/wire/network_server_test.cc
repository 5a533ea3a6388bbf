#include "lib/wire/network_server.h"
#include "lib/base/clock.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "lib/base/file.h"
#include "lib/cluster/address.h"
#include "lib/wire/transport.h"
#include "tests/support/catch.h"
#include "tests/support/loopback.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

constexpr TimeMs kPatienceMs = 20'000;  // far more than anything here takes, except for the tested limits

Message ping(std::uint64_t sequence) {
  trace::Peer peer;
  peer.sequence = sequence;
  return peer.plain(MessageType::kPing);
}
Message floats(std::size_t count) {
  trace::Peer peer;
  return peer.push(0, std::vector<float>(count, 1.0f));
}

// A server whose owner, in a separate thread, keeps every connection and answers each message with the same message.
struct EchoServer {
  explicit EchoServer(ServerOptions options = {}, bool keeps = true) : port(free_port()), keeps_(keeps) {
    options.endpoints = {tcp_endpoint("127.0.0.1", port), same_host_endpoint("127.0.0.1", port)};
    options.refused = [this](const std::string& address, const std::string& why) {
      const std::lock_guard lock(mutex);
      ++refusals[address + ": " + why];
    };
    server = std::make_unique<NetworkServer>(std::move(options));
    thread_ = std::thread([this] { serve(); });
  }
  ~EchoServer() {
    stop_ = true;
    thread_.join();
  }

  std::string tcp() const { return tcp_endpoint("127.0.0.1", port); }
  std::string same_host() const { return same_host_endpoint("127.0.0.1", port); }
  int times_refused(const std::string& what) {
    const std::lock_guard lock(mutex);
    return refusals[what];
  }
  // True if a client gets an answer.
  bool serves(const std::string& endpoint, const std::optional<ClientKeys>& keys = std::nullopt) {
    WireContext context;
    ClientSocket client(context, endpoint, keys);
    client.send(ping(5));
    for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < kPatienceMs;) {
      if (client.receive()) return true;
      last_break = client.broken();
      if (!last_break.empty()) return false;
      ClientSocket::poll({&client}, 100);
    }
    return false;
  }

  std::uint16_t port;
  std::unique_ptr<NetworkServer> server;
  std::mutex mutex;
  std::map<std::string, int> refusals;
  std::set<std::string> owners;  // the owners of the keys that were used
  std::string last_break;

 private:
  void serve() {
    Sender from;
    while (!stop_) {
      server->poll(20);
      while (auto received = server->receive(from)) {
        if (keeps_) server->keep(from.route);
        {
          const std::lock_guard lock(mutex);
          if (from.key) owners.insert(from.key->to_string());
        }
        if (received->fault == HeaderFault::kNone) server->send(from.route, std::move(received->message));
      }
    }
  }

  bool keeps_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// The exit status of a child process that runs as the user `nobody`.
template <class Action>
int as_nobody(const Action& action) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(100);
    _exit(action());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

FileDescriptor abstract_socket(std::uint16_t port, bool listens) {
  FileDescriptor out(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "distmnist-127.0.0.1-" + std::to_string(port);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* place = reinterpret_cast<const sockaddr*>(&address);
  const bool done =
      listens ? bind(out.get(), place, size) == 0 && listen(out.get(), 8) == 0 : connect(out.get(), place, size) == 0;
  return done ? std::move(out) : FileDescriptor();
}

}  // namespace

TEST_CASE("a peer that does not follow the protocol is disconnected in time, before and after the handshake") {
  EchoServer echo({}, false);
  RawConnection silent(echo.port);
  silent.receive(64);
  RawDealer dealer(echo.port);
  const TimeMs began = monotonic_ms();
  CHECK(silent.receive(1).empty());
  CHECK(monotonic_ms() - began >= kHandshakeMs / 2);
  CHECK(dealer.hung_up());
  CHECK(monotonic_ms() - began >= kFirstWordMs / 2);
  CHECK(echo.times_refused("127.0.0.1: did not finish the handshake in time") == 1);
  CHECK(echo.times_refused("127.0.0.1: did not greet in time") == 1);
}

TEST_CASE("a kept connection stays, and others are dropped in favor of newer ones, the oldest first") {
  EchoServer echo;
  WireContext context;
  ClientSocket kept(context, echo.tcp());
  const auto is_answered = [&kept](std::uint64_t sequence) {
    kept.send(ping(sequence));
    for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < kPatienceMs;) {
      if (auto received = kept.receive()) return received->message.header.sequence == sequence;
      ClientSocket::poll({&kept}, 100);
    }
    return false;
  };
  REQUIRE(is_answered(1));
  std::vector<std::unique_ptr<RawConnection>> crowd;
  for (int i = 0; i < 300; ++i) crowd.push_back(std::make_unique<RawConnection>(echo.port));
  CHECK(echo.serves(echo.tcp()));
  CHECK(is_answered(2));
  CHECK(echo.times_refused("127.0.0.1: was dropped in favor of others before it had greeted") >=
        300 - static_cast<int>(kMaxUnprovenOfAddress));
  CHECK(crowd.front()->receive(64).size() == 64);  // the greeting,
  CHECK(crowd.front()->receive(1).empty());        // and the end
}

TEST_CASE("a peer that has not sent a greeting can send only a few bytes") {
  EchoServer echo({}, false);
  const auto header = [](const Message& message) {
    const auto bytes = encode_header(message.header);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  RawDealer talker(echo.port);
  for (std::size_t i = 0; i <= kMaxUnprovenMessages; ++i) talker.send({header(ping(i + 1)), ""});
  RawDealer heart(echo.port);
  const std::string beat("\x04\x07\x04PING\0\1", 9);
  CHECK(heart.pour(beat, 64u << 20) < (64u << 20));
  for (const TimeMs began = monotonic_ms(); echo.times_refused("127.0.0.1: sent too much before it had greeted") < 2 &&
                                            monotonic_ms() - began < kPatienceMs;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(echo.times_refused("127.0.0.1: sent too much before it had greeted") == 2);
}

TEST_CASE("heartbeats are not read from a peer that does not read the answers") {
  EchoServer echo;
  RawDealer dealer(echo.port);
  const Message hello = ping(1);
  const auto bytes = encode_header(hello.header);
  dealer.send({std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), ""});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // gives the server time to keep it
  std::string beats;
  for (int i = 0; i < 2'000; ++i) beats += std::string("\x04\x17\x04PING\0\1sixteen bytes...", 25);
  // The kernel buffers some MiB in both directions; the rest would be this process's memory.
  CHECK(dealer.pour(beats, 64u << 20) < (32u << 20));
}

TEST_CASE("connections are refused well before the limit, and the last ones are reserved for this host") {
  EchoServer echo({.max_connections = 16});
  WireContext context;
  std::vector<ClientSocket> clients;
  const auto connects = [&](const std::string& endpoint) {
    ClientSocket& client = clients.emplace_back(context, endpoint);
    client.send(ping(1));
    for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < kPatienceMs;) {
      if (client.receive()) return true;
      if (!client.broken().empty()) return false;
      ClientSocket::poll({&client}, 100);
    }
    return false;
  };
  int over_tcp = 0;
  while (over_tcp < 20 && connects(echo.tcp())) ++over_tcp;
  CHECK(over_tcp == 14);
  CHECK(connects(echo.same_host()));
  CHECK(connects(echo.same_host()));
  CHECK_FALSE(connects(echo.same_host()));
  clients.clear();
  bool serves = false;  // as soon as the server notices that the others have gone
  for (const TimeMs began = monotonic_ms(); !serves && monotonic_ms() - began < kPatienceMs;) {
    serves = echo.serves(echo.tcp());
  }
  CHECK(serves);
}

TEST_CASE("a peer that is not on the list is refused over TCP and accepted over the Unix socket") {
  EchoServer echo({.lets_in = [](std::string_view address) { return address == "10.0.0.1"; }});
  CHECK_FALSE(echo.serves(echo.tcp()));
  CHECK(echo.times_refused("127.0.0.1: is not on the allow list") == 1);
  CHECK(echo.serves(echo.same_host()));
}

TEST_CASE("a process of a different user of this host is refused over the Unix socket") {
  if (geteuid() != 0) SKIP_CASE("only root can become a different user");
  EchoServer echo;
  const int outcome = as_nobody([&] {
    const FileDescriptor socket = abstract_socket(echo.port, false);
    char byte = 0;
    return socket ? static_cast<int>(recv(socket.get(), &byte, 1, 0)) <= 0 ? 7 : 8 : 9;
  });
  CHECK(outcome == 7);
  CHECK(echo.times_refused("user 65534 on this host: is neither this ps's user nor root") == 1);
}

TEST_CASE("nothing is sent to a Unix socket that belongs to a different user") {
  if (geteuid() != 0) SKIP_CASE("only root can become a different user");
  const std::uint16_t port = free_port();
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t squatter = fork();
  if (squatter == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(100);
    const FileDescriptor listener = abstract_socket(port, true);
    if (write(ready[1], "x", 1) != 1) _exit(101);
    while (true) pause();
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  CHECK(probe_same_host("127.0.0.1", port) == SameHost::kForeign);
  WireContext context;
  ClientSocket client(context, same_host_endpoint("127.0.0.1", port));
  CHECK(client.broken() == "is a process of user 65534 on this host, which is not trusted");
  CHECK_FALSE(client.send(ping(1)));

  // The ps logs which user owns the name, and serves over TCP.
  NetworkServer server({.endpoints = {tcp_endpoint("127.0.0.1", port), same_host_endpoint("127.0.0.1", port)}});
  CHECK(server.bound().size() == 1);
  REQUIRE(server.left_out().size() == 1);
  CHECK(server.left_out()[0].second.find("user 65534") != std::string::npos);
  kill(squatter, SIGKILL);
  waitpid(squatter, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("messages that are not taken are not read from the socket until they are taken") {
  const std::uint16_t port = free_port();
  NetworkServer server({.endpoints = {tcp_endpoint("127.0.0.1", port)}});
  RawDealer dealer(port);
  const auto parts = [](Message message) {
    seal(message);
    const auto header = encode_header(message.header);
    return std::vector<std::string>{std::string(text_of(header)), std::string(text_of(message.payload.bytes()))};
  };
  dealer.send(parts(ping(1)));
  Sender from;
  while (!server.receive(from)) server.poll(100);
  server.keep(from.route);
  server.send(from.route, ping(2));
  REQUIRE_FALSE(dealer.hung_up());  // it is kept by now
  std::atomic<int> sent = 0;
  constexpr int kMessages = 200;  // of one mebibyte each
  std::thread sender([&] {
    const auto big = parts(floats(kMaxPayloadFloats));
    while (sent < kMessages && dealer.send(big)) ++sent;
  });
  int before = -1;
  while (before != sent) {  // until the server reads no more
    before = sent;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  CHECK(before < 60);  // kMaxWaitingBytes, and the kernel's buffers on both ends
  int received = 0;
  while (received < kMessages && server.poll(5'000)) {
    while (server.receive(from)) ++received;
  }
  sender.join();
  CHECK(received == kMessages);
}

TEST_CASE("a peer that is disconnected first gets the messages sent to it before") {
  const std::uint16_t port = free_port();
  NetworkServer server({.endpoints = {tcp_endpoint("127.0.0.1", port)}});
  WireContext context;
  ClientSocket client(context, tcp_endpoint("127.0.0.1", port));
  client.send(ping(1));
  Sender from;
  while (!server.receive(from)) server.poll(100);
  server.send(from.route, ping(2));
  server.cut(from.route);
  std::optional<Received> heard;
  while (client.broken().empty() || !heard) {
    ClientSocket::poll({&client}, 100);
    if (auto received = client.receive()) heard = std::move(received);
  }
  CHECK(heard->message.header.sequence == 2);
  CHECK_FALSE(server.send(from.route, ping(3)));
}

TEST_CASE("with keys only peers with a known key are accepted, and each is identified by its key") {
  const KeyPair ps = make_key_pair(), worker = make_key_pair(), stranger = make_key_pair();
  ServerKeys keys{ps, {{worker.public_key, {KeyOwner::Role::kWorker, 3}}}};
  EchoServer echo({.keys = keys});
  for (const std::string& endpoint : {echo.tcp(), echo.same_host()}) {
    CHECK(echo.serves(endpoint, ClientKeys{worker, ps.public_key}));
    CHECK_FALSE(echo.serves(endpoint));
    CHECK(echo.last_break == "asks for a key, but this task has none");
    const std::string who = endpoint == echo.tcp() ? "127.0.0.1" : "this host";
    // If the client is faster than the server, nothing can be observed of it.
    const auto is_noticed = [&] { return echo.times_refused(who + ": hung up when it was asked for a key") > 0; };
    for (int i = 0; i < 200 && !is_noticed(); ++i) {
      CHECK_FALSE(echo.serves(endpoint));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    CHECK(is_noticed());
    CHECK_FALSE(echo.serves(endpoint, ClientKeys{stranger, ps.public_key}));
    CHECK(echo.last_break == "does not recognize this task's key, or has a different key from the one expected");
    CHECK_FALSE(echo.serves(endpoint, ClientKeys{worker, stranger.public_key}));
  }
  CHECK(echo.owners == std::set<std::string>{"worker:3"});
  EchoServer open;
  CHECK_FALSE(open.serves(open.tcp(), ClientKeys{worker, ps.public_key}));
  CHECK(open.last_break == "has no keys, but this task has");
}

TEST_CASE("with keys messages of every size are sent and returned") {
  const KeyPair ps = make_key_pair(), worker = make_key_pair();
  EchoServer echo({.keys = ServerKeys{ps, {{worker.public_key, {}}}}});
  WireContext context;
  ClientSocket client(context, echo.tcp(), ClientKeys{worker, ps.public_key});
  const auto comes_back = [&](Message message) {
    const std::string sent(text_of(message.payload.bytes()));
    client.send(std::move(message));
    for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < kPatienceMs;) {
      if (auto received = client.receive()) return text_of(received->message.payload.bytes()) == sent;
      ClientSocket::poll({&client}, 100);
    }
    return false;
  };
  CHECK(comes_back(ping(1)));
  for (const std::size_t count : {0, 1, 30, 35, 63, 64, 65, 72, 73, 1'000, 1'024, 100'000, 262'144}) {
    INFO(count);
    trace::Peer peer;
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
    CHECK(comes_back(peer.push(0, values)));
  }
}

TEST_CASE("with keys, data that waits for a peer that does not read is not copied") {
  const KeyPair ps = make_key_pair(), worker = make_key_pair();
  const std::uint16_t port = free_port();
  NetworkServer server(
      {.endpoints = {tcp_endpoint("127.0.0.1", port)}, .keys = ServerKeys{ps, {{worker.public_key, {}}}}});
  WireContext context;
  ClientSocket client(context, tcp_endpoint("127.0.0.1", port), ClientKeys{worker, ps.public_key});
  client.send(ping(1));
  Sender from;
  while (!server.receive(from)) server.poll(100);
  server.keep(from.route);
  const auto shared = std::make_shared<Frame>(Frame::allocate(4096));
  const auto send = [&] {
    Message message = ping(2);
    message.payload = Frame::share(shared);
    return server.send(from.route, std::move(message));
  };
  // ZeroMQ's client and the kernel buffer this much; the server keeps the rest.
  TimeMs last_taken_ms = monotonic_ms();
  while (monotonic_ms() - last_taken_ms < 500) {
    if (send()) {
      last_taken_ms = monotonic_ms();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  CHECK(shared.use_count() > static_cast<long>(kMaxUnsentMessages) * 3 / 4);
  std::size_t num_received = 0;
  for (const TimeMs began = monotonic_ms(); shared.use_count() > 1 && monotonic_ms() - began < kPatienceMs;) {
    while (client.receive()) ++num_received;
    ClientSocket::poll({&client}, 10);
  }
  CHECK(shared.use_count() == 1);
  CHECK(num_received > kMaxUnsentMessages);
  CHECK(client.broken().empty());  // no message was out of order
}

}  // namespace distmnist
