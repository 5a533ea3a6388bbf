#include "lib/ps/server/parameter_server.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_ps.h"

namespace distmnist {
namespace {

ParameterServerConfig config_at(const std::string& host, std::uint16_t port) {
  ParameterServerConfig config;
  config.address = {host, port};
  config.identity = {1, 2, 1, 99};
  return config;
}

}  // namespace

TEST_CASE("a port in use is a conflict that names the address") {
  SilentListener taken;
  CHECK(fails_with(ExitCode::kConflict, fmt::format("127.0.0.1:{}", taken.port()),
                   [&] { run_parameter_server(config_at("127.0.0.1", taken.port())); }));
}

TEST_CASE("an address of a different host is a usage error that names the task and the flag") {
  CHECK(fails_with(ExitCode::kUsage, "ps:1", [] { run_parameter_server(config_at("192.0.2.1", 2222)); }));
  CHECK(fails_with(ExitCode::kUsage, "--bind", [] { run_parameter_server(config_at("192.0.2.1", 2222)); }));
}

TEST_CASE("an invalid listen address is reported with its flag, not with the address in the cluster") {
  ParameterServerConfig config = config_at("192.0.2.1", 2222);
  config.bind = HostPort{"192.0.2.9", 2222};
  CHECK(fails_with(ExitCode::kUsage, "--bind=192.0.2.9: this host has only", [&] { run_parameter_server(config); }));
}

TEST_CASE("a ps waits for a name that does not resolve, and gives up with a lost peer") {
  ParameterServerConfig config = config_at("no-such-host.invalid", 2222);
  config.limits.recovery_wait_ms = 300;
  CHECK(fails_with(ExitCode::kLostPeer, "cannot resolve host 'no-such-host.invalid'",
                   [&] { run_parameter_server(config); }));
  config.limits.recovery_wait_ms = 600'000;
  config.stop_signal = [] { return std::optional(ExitCode::kTerminated); };
  CHECK(fails_with(ExitCode::kInterrupted, "no-such-host.invalid", [&] { run_parameter_server(config); }));
}

TEST_CASE("a signal ends a ps without workers with the signal's code") {
  RunningPs ps(free_port(), {0, 1, 1, 99});
  ps.signal(ExitCode::kInterrupted);
  CHECK(ps.wait() == ExitCode::kInterrupted);
}

}  // namespace distmnist
