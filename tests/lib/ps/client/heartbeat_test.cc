#include "lib/ps/client/heartbeat.h"
#include "lib/base/clock.h"

#include <optional>

#include "lib/cluster/address.h"
#include "lib/wire/network_server.h"
#include "tests/support/catch.h"
#include "tests/support/loopback.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

// A ps that receives and never answers.
struct SilentPs {
  std::optional<Received> next(Sender& from) {
    for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < 20'000;) {
      socket.poll(100);
      if (auto received = socket.receive(from)) return received;
    }
    return std::nullopt;
  }
  Heartbeat::Target target(std::uint64_t lease) const {
    trace::Peer peer{.worker = 2, .incarnation = 10, .lease = lease};
    return {endpoint, peer.header(MessageType::kPing)};
  }

  WireContext context;
  std::string endpoint = tcp_endpoint("127.0.0.1", free_port());
  NetworkServer socket{{.endpoints = {endpoint}}};
};

}  // namespace

TEST_CASE("a heartbeat pings every ps at once, with the worker's session") {
  SilentPs first, second;
  WireContext context;
  Heartbeat heartbeat(context, {});
  heartbeat.set_targets({first.target(5), second.target(6)});
  Sender from;
  for (SilentPs* ps : {&first, &second}) {
    const auto ping = ps->next(from);
    REQUIRE(ping);
    CHECK(ping->message.header.type == MessageType::kPing);
    CHECK(ping->message.header.worker == 2);
    CHECK(ping->message.header.incarnation == 10);
    CHECK(ping->message.header.lease == (ps == &first ? 5u : 6u));
  }
}

TEST_CASE("a heartbeat answers a probe, so that a worker keeps its task while it computes") {
  SilentPs ps;
  WireContext context;
  Heartbeat heartbeat(context, {});
  heartbeat.set_targets({ps.target(5)});
  Sender from;
  REQUIRE(ps.next(from));
  trace::Peer peer;
  ps.socket.send(from.route, peer.plain(MessageType::kProbe));
  const TimeMs probed = monotonic_ms();
  const auto answer = ps.next(from);
  REQUIRE(answer);
  CHECK(answer->message.header.type == MessageType::kPing);
  CHECK(monotonic_ms() - probed < Heartbeat::Config{}.every_ms);  // it did not wait for the next heartbeat
}

TEST_CASE("a heartbeat continues with new targets, and stops on request") {
  SilentPs before, after;
  WireContext context;
  Heartbeat heartbeat(context, {});
  heartbeat.set_targets({before.target(5)});
  Sender from;
  REQUIRE(before.next(from));
  heartbeat.set_targets({after.target(7)});
  const auto ping = after.next(from);
  REQUIRE(ping);
  CHECK(ping->message.header.lease == 7);
  heartbeat.stop();
  heartbeat.stop();
}

}  // namespace distmnist
