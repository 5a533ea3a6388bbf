#include "lib/ps/server/membership.h"

#include <limits>

#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Workers = std::vector<std::uint32_t>;

// Two worker tasks as seen by one ps. A process is a worker index and an incarnation.
class Script {
 public:
  // Uses the lease of the session if the session belongs to this process.
  Admission greet(std::uint32_t worker, std::uint64_t incarnation, TimeMs now, const Route& route = "a") {
    return members.greet({header(worker, incarnation, MessageType::kHello), Sender{route}, {}}, now);
  }
  Membership::Heard hear(std::uint32_t worker, std::uint64_t incarnation, TimeMs now,
                         MessageType type = MessageType::kPush, const Route& route = "a") {
    return members.hear(header(worker, incarnation, type), route, now);
  }
  Header header(std::uint32_t worker, std::uint64_t incarnation, MessageType type) {
    trace::Peer peer;
    peer.worker = worker;
    peer.incarnation = incarnation;
    const Session* session = members.session(worker);
    if (session != nullptr && session->incarnation() == incarnation) peer.lease = session->lease;
    return peer.header(type);
  }

  std::uint64_t last_lease = 100;
  Membership members{2, kLeaseMs, [this] { return last_lease -= 3; }};
};

}  // namespace

TEST_CASE("the first process of a task is admitted and each greeting gives a new lease") {
  Script script;
  CHECK(script.members.session(0) == nullptr);
  CHECK_FALSE(script.members.last_life_ms().has_value());
  CHECK(script.greet(0, 10, 0) == Admission::kAdmitted);
  CHECK(script.greet(1, 10, 0) == Admission::kAdmitted);
  const std::uint64_t first = script.members.session(0)->lease;
  CHECK(script.members.session(1)->lease != first);
  CHECK(script.greet(0, 10, 5) == Admission::kAdmitted);  // the same process after a reconnect
  CHECK(script.members.session(0)->lease != first);
  CHECK(script.members.num_live() == 2);
}

TEST_CASE("silence for a lease makes a worker lost, and its next message brings it back") {
  Script script;
  script.greet(0, 10, 1000);
  script.hear(0, 10, 2000);
  CHECK(script.members.tick(2000 + kLeaseMs - 1).lost.empty());
  CHECK(script.members.tick(2000 + kLeaseMs).lost == Workers{0});
  CHECK(script.members.tick(2000 + kLeaseMs + 1).lost.empty());  // reported once
  CHECK(script.members.num_live() == 0);
  CHECK(script.members.last_life_ms() == 2000);

  const auto heard = script.hear(0, 10, 30'000);
  CHECK(heard.standing == Standing::kCurrent);
  CHECK(heard.returned);
  CHECK_FALSE(script.hear(0, 10, 30'001).returned);
  CHECK(script.members.num_live() == 1);
}

TEST_CASE("a newcomer takes over when the old process does not answer a probe") {
  Script script;
  script.greet(0, 10, 0, "old");
  CHECK(script.greet(0, 11, 5000, "new") == Admission::kProbe);
  CHECK(script.members.session(0)->incarnation() == 10);
  CHECK(script.members.tick(5000 + kProbeMs - 1).taken_over.empty());
  CHECK(script.members.tick(5000 + kProbeMs).taken_over == Workers{0});
  CHECK(script.members.session(0)->incarnation() == 11);
  CHECK(script.members.session(0)->greeting.from.route == "new");
  CHECK(script.hear(0, 10, 7000).standing == Standing::kRetired);
  CHECK(script.greet(0, 10, 7001) == Admission::kRetired);
  CHECK(script.hear(0, 11, 7002).standing == Standing::kCurrent);
}

TEST_CASE(
    "a process that takes over a task with the same incarnation as the process before it has none of its leases") {
  Script script;
  const auto greet_without_lease = [&](TimeMs now, const Route& route) {
    Header header = script.header(0, 10, MessageType::kHello);
    header.lease = 0;
    return script.members.greet({header, Sender{route}, {}}, now);
  };
  SECTION("before that process has sent a message") {
    script.greet(0, 10, 0, "first");
    const Header first = script.header(0, 10, MessageType::kPush);
    CHECK(greet_without_lease(1, "second") == Admission::kAdmitted);
    CHECK_FALSE(script.members.is_current(first));
    CHECK(script.members.take_orphans() == std::vector<Route>{"first"});
  }
  SECTION("because that process does not answer a probe") {
    script.greet(0, 10, 0, "first");
    const Header first = script.header(0, 10, MessageType::kPush);
    script.hear(0, 10, 1, MessageType::kPush, "first");
    CHECK(greet_without_lease(5000, "second") == Admission::kProbe);
    CHECK(script.members.tick(5000 + kProbeMs).taken_over == Workers{0});
    CHECK_FALSE(script.members.is_current(first));
  }
  CHECK(script.members.is_current(script.header(0, 10, MessageType::kPush)));
  CHECK(script.members.session(0)->greeting.from.route == "second");
}

TEST_CASE("a task that one process finished is not done for the next process, unless the run is over") {
  Script script;
  script.greet(0, 10, 0);
  script.greet(1, 10, 0);
  script.members.set_done(1);
  script.members.leave(1, 1);
  CHECK(script.greet(1, 11, 2) == Admission::kAdmitted);
  CHECK(script.members.missing() == Workers{0, 1});
  CHECK(script.greet(1, 12, 3) == Admission::kProbe);  // alive
  CHECK(script.members.tick(2 + kLeaseMs + kProbeMs).taken_over == Workers{1});
  CHECK(script.members.missing() == Workers{0, 1});
  script.members.set_done(0);
  script.members.set_done(1);
  script.greet(1, 13, 100'000);
  CHECK(script.members.all_done());
}

TEST_CASE("a newcomer is turned away when the old process answers") {
  Script script;
  script.greet(0, 10, 0, "old");
  script.greet(0, 11, 5000, "new");
  const auto heard = script.hear(0, 10, 5100, MessageType::kPing);
  REQUIRE(heard.turned_away.size() == 1);
  CHECK(heard.turned_away[0].from.route == "new");
  CHECK(script.members.tick(9000).taken_over.empty());
  CHECK(script.members.session(0)->incarnation() == 10);
  CHECK(script.hear(0, 10, 9100).turned_away.empty());
}

TEST_CASE("a waiting newcomer that sends its greeting again is answered on its new connection, at the same deadline") {
  Script script;
  script.greet(0, 10, 0);
  script.greet(0, 11, 5000, "first connection");
  CHECK(script.greet(0, 11, 5900, "second connection") == Admission::kProbe);
  CHECK(script.members.tick(5000 + kProbeMs).taken_over == Workers{0});
  CHECK(script.members.session(0)->greeting.from.route == "second connection");
}

TEST_CASE("newcomers are admitted one after another, each if the one before it does not answer") {
  Script script;
  script.greet(0, 10, 0);
  script.greet(0, 12, 5000, "twelve");
  CHECK(script.greet(0, 11, 5900, "eleven") == Admission::kProbe);
  auto tick = script.members.tick(5000 + kProbeMs);
  CHECK(tick.taken_over == Workers{0});
  CHECK(tick.to_probe == Workers{0});
  CHECK(script.members.session(0)->incarnation() == 12);
  SECTION("it has died") {
    CHECK(script.members.tick(5000 + 2 * kProbeMs - 1).taken_over.empty());
    tick = script.members.tick(5000 + 2 * kProbeMs);
    CHECK(tick.taken_over == Workers{0});
    CHECK(tick.to_probe.empty());
    CHECK(script.members.session(0)->incarnation() == 11);
    CHECK(script.greet(0, 12, 8000) == Admission::kRetired);
  }
  SECTION("it answers") {
    const auto heard = script.hear(0, 12, 6100);
    REQUIRE(heard.turned_away.size() == 1);
    CHECK(heard.turned_away[0].from.route == "eleven");
    CHECK(script.members.tick(9000).taken_over.empty());
  }
}

TEST_CASE("no more newcomers wait than the limit allows") {
  Script script;
  script.greet(0, 10, 0);
  for (std::uint64_t i = 0; i < kMaxNewcomers; ++i) CHECK(script.greet(0, 20 + i, 1) == Admission::kProbe);
  CHECK(script.greet(0, 90, 1) == Admission::kTaken);
  CHECK(script.greet(0, 20, 1) == Admission::kProbe);  // one that already waits
  CHECK(script.hear(0, 10, 2).turned_away.size() == kMaxNewcomers);
}

TEST_CASE("a newcomer for a task that has just become free waits behind earlier newcomers") {
  Script script;
  script.greet(0, 10, 0);
  script.greet(0, 11, 5000);
  script.hear(0, 10, 5010, MessageType::kLeave);
  script.members.leave(0, 5010);
  CHECK(script.greet(0, 12, 5011) == Admission::kProbe);
  CHECK(script.members.tick(5012).to_probe == Workers{0});
  CHECK(script.members.session(0)->incarnation() == 11);
}

TEST_CASE("no incarnation, however large, excludes the next process of the task") {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
  Script script;
  script.greet(0, kLargest, 0);
  SECTION("while the process lives: it is probed") {
    CHECK(script.greet(0, 1, 5000) == Admission::kProbe);
    CHECK(script.members.tick(5000 + kProbeMs).taken_over == Workers{0});
  }
  SECTION("after it has left") {
    script.members.leave(0, 10);
    CHECK(script.greet(0, 1, 11) == Admission::kAdmitted);
  }
  SECTION("after it is lost") {
    script.members.tick(kLeaseMs);
    CHECK(script.greet(0, 1, kLeaseMs) == Admission::kAdmitted);
  }
  CHECK(script.members.session(0)->incarnation() == 1);
  CHECK(script.hear(0, kLargest, 6 * kLeaseMs).standing == Standing::kRetired);
}

TEST_CASE("a task's last processes are remembered, and older ones are treated as newcomers") {
  Script script;
  for (std::uint64_t i = 0; i <= kMaxRetiredProcesses; ++i) {
    script.greet(0, 500 - i, 0);
    script.members.leave(0, 0);
  }
  CHECK(script.greet(0, 500, 1) == Admission::kRetired);
  script.greet(0, 7, 1);
  script.members.leave(0, 1);
  CHECK(script.greet(0, 499, 2) == Admission::kRetired);
  CHECK(script.greet(0, 500, 2) == Admission::kAdmitted);
}

TEST_CASE("the most recently admitted process is known even after it has left") {
  Script script;
  CHECK(script.members.latest(0) == 0);
  script.greet(0, 10, 0);
  script.greet(1, 5, 0);
  script.members.leave(0, 1);
  CHECK(script.members.latest(0) == 10);
  CHECK(script.members.latest(1) == 5);
  CHECK_FALSE(script.members.is_current(script.header(0, 10, MessageType::kPing)));
  CHECK(script.members.is_current(script.header(1, 5, MessageType::kPing)));
  script.greet(1, 4, 2);  // waits
  CHECK(script.members.latest(1) == 5);
}

TEST_CASE("a task whose process is lost, has left or is done is assigned without a probe") {
  Script lost;
  lost.greet(0, 10, 0);
  lost.members.tick(kLeaseMs);
  CHECK(lost.greet(0, 11, kLeaseMs + 1) == Admission::kAdmitted);

  Script left;
  left.greet(0, 10, 0);
  left.members.leave(0, 10);
  CHECK(left.members.session(0) == nullptr);
  CHECK(left.greet(0, 11, 11) == Admission::kAdmitted);

  Script done;
  done.greet(0, 10, 0);
  done.members.set_done(0);
  CHECK(done.greet(0, 11, 11) == Admission::kAdmitted);
}

TEST_CASE("an old process that leaves makes room for the newcomer instead of turning it away") {
  Script script;
  script.greet(0, 10, 0);
  script.greet(0, 11, 5000);
  CHECK(script.hear(0, 10, 5010, MessageType::kLeave).turned_away.empty());
  script.members.leave(0, 5010);
  CHECK(script.members.tick(5011).taken_over == Workers{0});
  CHECK(script.members.session(0)->incarnation() == 11);
}

TEST_CASE("a replaced process never returns, even if its successor is silent") {
  Script script;
  script.greet(0, 12, 0);
  script.greet(0, 10, kLeaseMs);
  script.members.tick(kLeaseMs + kProbeMs);
  script.members.tick(5 * kLeaseMs);  // lost
  CHECK(script.greet(0, 12, 5 * kLeaseMs) == Admission::kRetired);
  CHECK(script.greet(0, 11, 5 * kLeaseMs) == Admission::kAdmitted);
  CHECK(script.greet(0, 10, 5 * kLeaseMs) == Admission::kRetired);
}

TEST_CASE("a process that was never admitted is unknown") {
  Script script;
  CHECK(script.hear(0, 10, 0).standing == Standing::kUnknown);
  script.greet(0, 10, 0);
  CHECK(script.hear(0, 11, 1).standing == Standing::kUnknown);
  CHECK(script.hear(1, 10, 1).standing == Standing::kUnknown);
}

TEST_CASE("the heartbeat's route is kept for probes when the process reconnects, but not for the next process") {
  Script script;
  script.greet(0, 10, 0, "main");
  script.hear(0, 10, 1, MessageType::kPing, "heartbeat");
  CHECK(script.members.session(0)->ping_route == "heartbeat");
  script.greet(0, 10, 2, "main again");
  CHECK(script.members.session(0)->ping_route == "heartbeat");
  script.members.leave(0, 3);
  script.greet(0, 11, 4);
  CHECK(script.members.session(0)->ping_route.empty());
}

TEST_CASE("the run is over when every task is done, including those that never arrived") {
  Script script;
  CHECK(script.members.missing() == Workers{0, 1});
  script.greet(0, 10, 0);
  CHECK_FALSE(script.members.others_done(0));
  script.members.set_done(0);
  CHECK(script.members.missing() == Workers{1});
  CHECK_FALSE(script.members.all_done());
  CHECK(script.members.others_done(1));
  script.greet(1, 10, 0);
  script.members.set_done(1);
  CHECK(script.members.all_done());
  CHECK(script.members.num_live() == 0);
}

TEST_CASE("a done process does not count as alive and is not reported lost") {
  Script script;
  script.greet(0, 10, 0);
  script.members.set_done(0);
  script.hear(0, 10, 500);
  CHECK(script.members.last_life_ms() == 0);
  CHECK(script.members.tick(kLeaseMs + 500).lost.empty());
}

TEST_CASE("a sender that knows a process's incarnation but none of its leases is not that process") {
  Script script;
  script.greet(0, 10, 0);
  const Header first = script.header(0, 10, MessageType::kHello);
  script.hear(0, 10, 1);
  script.greet(0, 10, 2);
  const std::uint64_t lease = script.members.session(0)->lease;
  for (const std::uint64_t guess : {std::uint64_t{0}, lease - 1}) {
    for (const MessageType type : {MessageType::kPing, MessageType::kPush, MessageType::kLeave, MessageType::kHello}) {
      Header liar = first;
      liar.type = type;
      liar.lease = guess;
      CHECK_FALSE(script.members.is_current(liar));
      CHECK(script.members.hear(liar, "liar", 9'000).standing == Standing::kUnknown);
    }
  }
  CHECK(script.members.session(0)->last_heard_ms == 2);
  CHECK(script.members.session(0)->ping_route.empty());
  // Its greeting is treated like any other newcomer's, and the real process turns it away.
  Header liar = first;
  liar.lease = 0;
  CHECK(script.members.greet({liar, Sender{"liar"}, {}}, 9'000) == Admission::kProbe);
  CHECK(script.members.session(0)->lease == lease);
  CHECK(script.hear(0, 10, 9'100).turned_away.size() == 1);
  // An earlier lease is enough, because a process whose welcome was lost knows no newer one.
  CHECK(script.members.is_current(first));
  CHECK(script.members.greet({first, Sender{"b"}, {}}, 9'200) == Admission::kAdmitted);
}

TEST_CASE("until a process has named a lease its greeting is enough, because the welcome may have been lost") {
  Script script;
  script.greet(0, 10, 0);
  Header again = script.header(0, 10, MessageType::kHello);
  again.lease = 0;
  CHECK(script.members.greet({again, Sender{"b"}, {}}, 1) == Admission::kAdmitted);
  script.hear(0, 10, 2);
  CHECK(script.members.greet({again, Sender{"c"}, {}}, 3) == Admission::kProbe);
}

TEST_CASE("connections that no active or waiting process needs are closed") {
  using Routes = std::vector<Route>;
  Script script;
  script.greet(0, 10, 0, "a");
  for (const char* route : {"b", "c", "d", "b"}) script.hear(0, 10, 1, MessageType::kPing, route);
  CHECK(script.members.take_orphans().empty());
  script.hear(0, 10, 2, MessageType::kPing, "e");  // more than kMaxRoutes: the oldest is closed
  CHECK(script.members.take_orphans() == Routes{"a"});
  script.greet(0, 20, 3, "newcomer");
  script.greet(0, 20, 3, "newcomer again");
  CHECK(script.members.take_orphans() == Routes{"newcomer"});
  script.hear(0, 10, 4, MessageType::kPing, "e");  // turned away
  CHECK(script.members.take_orphans() == Routes{"newcomer again"});
  script.greet(0, 30, 5, "f");
  CHECK(script.members.tick(5 + kProbeMs).taken_over == Workers{0});
  CHECK(script.members.take_orphans() == Routes{"b", "c", "d", "e"});
  script.members.leave(0, 2'000);
  CHECK(script.members.take_orphans() == Routes{"f"});
  script.greet(0, 30, 3'000, "g");
  script.members.dismiss(0);
  CHECK(script.members.take_orphans() == Routes{"g"});
}

}  // namespace distmnist
