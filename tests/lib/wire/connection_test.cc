// The timeouts of one connection: which connections are closed for silence or for not reading, and which are not.
#include "lib/wire/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "lib/wire/network_server.h"
#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using namespace std::string_literals;

// A connection whose peer finished the handshake at time 1 and is kept.
struct Line {
  Line() {
    say("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL"s + std::string(48, '\0'));
    say("\x04\x1C\x05READY\x0BSocket-Type\0\0\0\x06"
        "DEALER"s);
    connection.read(1);
    std::size_t sent = 0;
    connection.write(1, sent);
    connection.keep();
  }
  void say(std::string_view bytes) {
    REQUIRE(write(peer.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  // Simulates a peer that reads these bytes from the socket.
  void take(std::size_t bytes) {
    std::vector<char> buffer(bytes);
    REQUIRE(::read(peer.get(), buffer.data(), buffer.size()) > 0);
  }
  // Queues 70 MiB for the peer.
  void enqueue_much(TimeMs now) {
    const auto shared = std::make_shared<Frame>(Frame::allocate(1u << 20));
    for (int i = 0; i < 70; ++i) {
      Message message{trace::Peer().header(MessageType::kParameters), Frame::share(shared)};
      connection.enqueue(std::move(message), now);
    }
  }
  bool is_overdue(TimeMs now) const { return connection.overdue(now) != nullptr; }

  int ends[2] = {-1, -1};
  const int made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
  FileDescriptor peer{ends[0]};
  Connection connection{FileDescriptor(ends[1]), Sender{"1"}, nullptr, 0};
};

}  // namespace

TEST_CASE("a silent connection is closed unless the server waits for its peer") {
  Line line;
  CHECK_FALSE(line.is_overdue(kIdleMs));
  CHECK(line.connection.overdue(kIdleMs + 1) == std::string_view("has been silent for too long"));
  line.connection.pause();
  CHECK_FALSE(line.is_overdue(10 * kIdleMs));
}

TEST_CASE("a peer that slowly reads its messages is neither silent nor stalled, even if nothing is read from it") {
  Line line;
  line.enqueue_much(2);
  std::size_t sent = 0;
  TimeMs now = 2;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(line.connection.write(now, sent));
    CHECK(line.connection.is_choked());
    CHECK_FALSE(line.is_overdue(now + kStalledMs - 1));
    now += kStalledMs - 1;
    line.take(64 * 1024);
  }
  CHECK(now > 2 * kIdleMs);
  line.connection.write(now, sent);
  CHECK(line.connection.overdue(now + kStalledMs) == std::string_view("does not read what is sent to it"));
}

TEST_CASE("a stall is counted from the moment when there is something to read") {
  Line line;
  const TimeMs quiet_until = kStalledMs + 10'000;
  line.connection.enqueue({trace::Peer().header(MessageType::kPong), {}}, quiet_until);
  CHECK_FALSE(line.is_overdue(quiet_until));
  CHECK_FALSE(line.is_overdue(quiet_until + 1));
}

}  // namespace distmnist
