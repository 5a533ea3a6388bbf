// A RemoteClient that is refused, loses its ps or is told to stop. remote_client_test.cc has the successful cases.
#include <future>

#include "lib/base/clock.h"
#include "lib/ps/client/remote_client.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/remote_job.h"

namespace distmnist {

TEST_CASE("a worker with different flags than the job is refused with the ps's reason") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient chief(job.worker(0));
  start(chief, job);

  RemoteClientConfig other_flags = job.worker(1);
  other_flags.fingerprint[1].second = "100";
  CHECK(fails_with(ExitCode::kVersion, "--batch_size is 100 here but 50 at the chief",
                   [&] { RemoteClient(other_flags).open(); }));
  RemoteClientConfig other_cluster = job.worker(1);
  other_cluster.num_workers = 5;
  CHECK(fails_with(ExitCode::kUsage, "the cluster descriptions differ", [&] { RemoteClient(other_cluster).open(); }));
  RemoteClientConfig no_such_worker = job.worker(7);
  CHECK(fails_with(ExitCode::kUsage, "worker:7 is not in the cluster", [&] { RemoteClient(no_such_worker).open(); }));
  chief.leave();
}

TEST_CASE("a worker with a different protocol version is told so, and the ps keeps running") {
  Job job;
  Servers servers(job.pick_ports());
  WireContext context;
  while (probe_tcp("127.0.0.1", job.ports[0], 1000) == Probe::kRefused) {  // until the ps listens
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ClientSocket old(context, tcp_endpoint("127.0.0.1", job.ports[0]));
  Message hello;
  hello.header.version = 99;
  old.send(std::move(hello));
  std::optional<Received> answer;
  for (const TimeMs began = monotonic_ms(); !answer && monotonic_ms() - began < 20'000;) {
    ClientSocket::poll({&old}, 100);
    answer = old.receive();
  }
  REQUIRE(answer);
  CHECK(trace::holds(trace::describe(answer->message),
                     "refuse 5: ps:0 speaks protocol version 5, but the request came in version 99"));

  RemoteClient client(job.worker(0));
  client.open();
  client.leave();
}

TEST_CASE("a ps that cannot be reached is given up after the recovery time with 138, and named") {
  Job job{.recovery_wait_ms = 300};
  job.pick_ports();
  RemoteClient client(job.worker(0));
  CHECK(fails_with(ExitCode::kLostPeer,
                   fmt::format("ps:0 127.0.0.1:{} cannot be reached (connection refused)", job.ports[0]),
                   [&] { client.open(); }));
}

TEST_CASE("a port that accepts connections and never answers is given up, too") {
  Job job{.recovery_wait_ms = 300};
  SilentListener listener;
  job.ports = {listener.port()};
  RemoteClient client(job.worker(0));
  CHECK(fails_with(ExitCode::kLostPeer, fmt::format("ps:0 127.0.0.1:{}", listener.port()), [&] { client.open(); }));
}

TEST_CASE("a name that does not resolve is given up with the name in the message") {
  Job job{.recovery_wait_ms = 300};
  RemoteClientConfig config = job.pick_ports().worker(0);
  config.ps[0] = {"no-such-host.invalid", 2222};
  RemoteClient client(config);
  CHECK(fails_with(ExitCode::kLostPeer, "no-such-host.invalid", [&] { client.open(); }));
}

TEST_CASE("a ps that dies during a run is detected, and given up after the recovery time") {
  Job job{.num_ps = 2, .recovery_wait_ms = 500};
  job.pick_ports();
  MortalPs survivor(job.ports[0], job.identity(0)), victim(job.ports[1], job.identity(1));
  RemoteClient client(job.worker(0));
  start(client, job);
  victim.kill();
  Floats parameters;
  CHECK(fails_with(ExitCode::kLostPeer, fmt::format("ps:1 127.0.0.1:{}", job.ports[1]),
                   [&] { push_all(client, 2, 0, parameters); }));
}

TEST_CASE("a restarted ps has lost the model: the session is lost, and the chief can create the model again") {
  Job job{.num_ps = 2};
  job.pick_ports();
  MortalPs survivor(job.ports[0], job.identity(0)), victim(job.ports[1], job.identity(1));
  RemoteClient client(job.worker(0));
  start(client, job);
  Floats parameters;
  push_all(client, 2, 0, parameters);

  victim.kill();
  victim.start();
  CHECK_THROWS_AS(push_all(client, 2, 1, parameters), SessionLost);
  CHECK_FALSE(client.open().has_model);
  client.create(start_model(job.optimizer, 40));
  CHECK(join(client) == 40);
  CHECK(push_all(client, 2, 40, parameters) == 41);
  CHECK(decreased_by(parameters, 1));
}

TEST_CASE("a worker that is not the chief also detects a lost ps, and continues with the chief's new model") {
  Job job{.num_workers = 2};
  job.pick_ports();
  MortalPs ps(job.ports[0], job.identity(0));
  RemoteClient chief(job.worker(0)), worker(job.worker(1));
  start(chief, job);
  worker.open();
  ps.kill();
  ps.start();
  Floats parameters;
  auto waiting = std::async(std::launch::async, [&] {
    Floats own;
    CHECK_THROWS_AS(push_all(worker, 2, 0, own), SessionLost);
    return worker.open().global_step;
  });
  CHECK_THROWS_AS(push_all(chief, 2, 0, parameters), SessionLost);
  CHECK_FALSE(chief.open().has_model);
  chief.create(start_model(job.optimizer, 40));
  CHECK(waiting.get() == 40);
}

TEST_CASE("a wait ends when a stop is asked for") {
  Job job;
  RemoteClientConfig config = job.pick_ports().worker(0);
  const TimeMs began = monotonic_ms();
  config.stop_requested = [began] { return monotonic_ms() - began > 200; };
  RemoteClient client(config);
  CHECK(fails_with(ExitCode::kInterrupted, "stopped by a signal", [&] { client.open(); }));
}

TEST_CASE("waiting for the other workers ends at its limit") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient chief(job.worker(0));
  start(chief, job);
  CHECK_FALSE(chief.await_others(100));
  // The abandoned question must not disturb the next one.
  Floats parameters;
  CHECK(push_all(chief, 2, 0, parameters) == 1);
  chief.leave();
}

TEST_CASE("a stop ends the wait for other workers, and the chief can still take its snapshot") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClientConfig config = job.worker(0);
  bool stop = false;
  config.stop_requested = [&stop] { return stop; };
  RemoteClient chief(config);
  start(chief, job);
  stop = true;
  const TimeMs began = monotonic_ms();
  CHECK_FALSE(chief.await_others(60'000));
  CHECK(monotonic_ms() - began < 30'000);
  CHECK(chief.snapshot().value().global_step == 0);
  chief.leave();
}

}  // namespace distmnist
