#include "lib/ps/parameter_server.h"

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

TEST_CASE("an address that is not of this host, or no name at all, is a usage error that names the task") {
  CHECK(fails_with(ExitCode::kUsage, "ps:1", [] { run_parameter_server(config_at("192.0.2.1", 2222)); }));
  CHECK(fails_with(ExitCode::kUsage, "no-such-host.invalid",
                   [] { run_parameter_server(config_at("no-such-host.invalid", 2222)); }));
}

TEST_CASE("a signal ends a ps without workers with the signal's code") {
  RunningPs ps(free_port(), {0, 1, 1, 99});
  ps.signal(ExitCode::kInterrupted);
  CHECK(ps.wait() == ExitCode::kInterrupted);
}

}  // namespace distmnist
