#include "lib/ps/server/doorkeeper.h"

#include <atomic>
#include <thread>

#include "lib/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

namespace distmnist {

TEST_CASE("only the hosts of the cluster and the user's additions are admitted") {
  AccessRules rules;
  rules.hosts = {{"10.3.0.1", 2222}, {"localhost", 2223}, {"", 0}, {"no-such-host.invalid", 2224}};
  rules.allow = parse_address_blocks("192.168.5.0/24");
  Doorkeeper doorkeeper(rules);
  for (const char* inside : {"10.3.0.1", "127.0.0.1", "127.9.9.9", "::1", "192.168.5.200"})
    CHECK(doorkeeper.lets_in(inside));
  for (const char* outside : {"10.3.0.2", "192.168.6.1", "8.8.8.8"}) CHECK_FALSE(doorkeeper.lets_in(outside));
  CHECK_FALSE(doorkeeper.fault());
  CHECK(doorkeeper.take_warnings() ==
        std::vector<std::string>{"no-such-host.invalid:2224 cannot be resolved on this host; connections from there "
                                 "are refused until it can be"});
  CHECK(doorkeeper.take_warnings().empty());
}

TEST_CASE("for an unknown address the names are resolved again, and all addresses of a name are admitted") {
  std::atomic<int> asked = 0;
  AccessRules rules;
  rules.hosts = {{"worker.example", 2222}};
  rules.look_up_again_ms = 20;
  rules.resolve = [&](const HostPort& host) {
    CHECK(host.host == "worker.example");
    if (++asked == 1) return std::vector<std::string>{"10.1.1.1", "fd00::1"};
    // A temporary failure of the name server does not remove addresses.
    return asked == 2 ? std::vector<std::string>() : std::vector<std::string>{"10.1.1.2"};
  };
  Doorkeeper doorkeeper(rules);
  CHECK(doorkeeper.lets_in("10.1.1.1"));
  CHECK(doorkeeper.lets_in("fd00::1"));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(asked == 1);  // no unknown address has connected
  const auto let_in = [&](const char* address) {
    for (int i = 0; i < 2'000 && !doorkeeper.lets_in(address); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return doorkeeper.lets_in(address);
  };
  CHECK_FALSE(doorkeeper.lets_in("10.1.1.2"));
  CHECK(let_in("10.1.1.2"));
  CHECK(asked >= 3);
  CHECK_FALSE(doorkeeper.lets_in("10.1.1.1"));  // the worker is no longer at this address
}

TEST_CASE("if many hosts cannot be resolved, only a few are named") {
  AccessRules rules;
  for (std::uint16_t k = 1; k <= 7; ++k) rules.hosts.push_back({"no-such-host.invalid", k});
  const auto warnings = Doorkeeper(rules).take_warnings();
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("no-such-host.invalid:5 and 2 more cannot be resolved on this host") != std::string::npos);
  CHECK(warnings[0].ends_with("until they can be"));
}

TEST_CASE("without loopback among its hosts no connection from loopback is admitted") {
  AccessRules rules;
  rules.hosts = {{"10.3.0.1", 2222}};
  Doorkeeper doorkeeper(rules);
  CHECK(doorkeeper.lets_in("10.3.0.1"));
  CHECK_FALSE(doorkeeper.lets_in("127.0.0.1"));
}

TEST_CASE("public addresses require keys or the user's permission") {
  AccessRules rules;
  rules.allow = parse_address_blocks("203.0.112.0/24");
  CHECK(fails_with(ExitCode::kSecurity, "keygen", [&] { Doorkeeper doorkeeper(rules); }));
  CHECK(fails_with(ExitCode::kSecurity, "--insecure", [&] { Doorkeeper doorkeeper(rules); }));
  rules.insecure = true;
  CHECK(Doorkeeper(rules).lets_in("203.0.112.77"));

  AccessRules hosts;
  hosts.hosts = {{"203.0.112.5", 2222}, {"127.0.0.1", 2223}};
  Doorkeeper doorkeeper(hosts);
  REQUIRE(doorkeeper.fault());
  CHECK(doorkeeper.fault()->find("203.0.112.5") != std::string::npos);
  CHECK_FALSE(doorkeeper.lets_in("203.0.112.5"));
  hosts.insecure = true;
  Doorkeeper trusting(hosts);
  CHECK_FALSE(trusting.fault());
  CHECK(trusting.lets_in("203.0.112.5"));
  CHECK(trusting.take_warnings().size() == 1);
  hosts.insecure = false;
  hosts.has_keys = true;
  Doorkeeper locked(hosts);
  CHECK_FALSE(locked.fault());
  CHECK(locked.lets_in("203.0.112.5"));
  CHECK(locked.take_warnings().empty());
}

}  // namespace distmnist
