#include "lib/ps/remote_client.h"

#include <algorithm>
#include <future>
#include <numeric>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_ps.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

// More than one chunk for one of the variables.
const std::vector<NamedRange> kVariables = {{"fc/weights", {0, kMaxPayloadFloats + 100}},
                                            {"fc/biases", {kMaxPayloadFloats + 100, 10}}};
constexpr std::int64_t kNumParameters = kMaxPayloadFloats + 110;
constexpr std::int64_t kBatchSamples = 50;

OptimizerSpec sgd(float learning_rate) {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kSgd;
  spec.learning_rate = learning_rate;
  return spec;
}

struct Job {
  std::uint32_t num_ps = 1, num_workers = 1;
  PlacementPolicy placement = PlacementPolicy::kSplit;
  OptimizerSpec optimizer = sgd(0.5f);
  TimeMs recovery_wait_ms = 20'000;
  std::vector<std::uint16_t> ports = {};

  Job& pick_ports() {
    while (ports.size() < num_ps) {
      const std::uint16_t port = free_port();
      if (std::ranges::find(ports, port) == ports.end()) ports.push_back(port);
    }
    return *this;
  }
  PsIdentity identity(std::uint32_t index) const { return {index, num_ps, num_workers, 1000 + index}; }
  RemoteClientConfig worker(std::uint32_t index) const {
    RemoteClientConfig config;
    for (const std::uint16_t port : ports) config.ps.push_back({"127.0.0.1", port});
    config.plan = place(kVariables, static_cast<int>(num_ps), placement);
    config.num_parameters = kNumParameters;
    config.worker = index;
    config.num_workers = num_workers;
    config.chief = index == 0;
    config.incarnation = 10 + index;
    config.new_run = 7;
    config.optimizer = optimizer;
    config.fingerprint = trace::kJob;
    config.recovery_wait_ms = recovery_wait_ms;
    return config;
  }
};

// The ps tasks of a job, as the program runs them.
struct Servers {
  explicit Servers(const Job& job) {
    for (std::uint32_t k = 0; k < job.num_ps; ++k) {
      ps.push_back(std::make_unique<RunningPs>(job.ports[k], job.identity(k)));
    }
  }
  std::vector<std::unique_ptr<RunningPs>> ps;
};

Floats counting(float first) {
  Floats values(static_cast<std::size_t>(kNumParameters));
  std::iota(values.begin(), values.end(), first);
  return values;
}

StoredModel start_model(const OptimizerSpec& optimizer, std::int64_t global_step = 0) {
  StoredModel model;
  model.global_step = global_step;
  model.optimizer = optimizer;
  model.parameters = counting(0);
  for (std::size_t slot = 0; slot < slot_names(optimizer.kind).size(); ++slot) {
    model.slots.push_back(Floats(model.parameters.size()));
  }
  return model;
}

// A sink that puts parameters into `block`.
ParameterSink into(Floats& block) {
  block.assign(static_cast<std::size_t>(kNumParameters), NAN);
  return [&block](Range range, std::span<const float> values) {
    std::ranges::copy(values, slice(std::span(block), range).begin());
  };
}

// One push of a gradient that is `value` everywhere, variable by variable in the order of a backward pass. Returns the
// global_step of the answer.
std::int64_t push_all(ParameterClient& client, float value, std::int64_t step, Floats& parameters) {
  const Floats gradients(static_cast<std::size_t>(kNumParameters), value);
  client.begin_push(gradients, step, kBatchSamples);
  client.push(kVariables[1].range);
  client.push(kVariables[0].range);
  return client.finish_push(into(parameters)).global_step;
}

// counting(0) - decrease, everywhere.
bool decreased_by(const Floats& parameters, float decrease) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i] != static_cast<float>(i) - decrease) return false;
  }
  return parameters.size() == static_cast<std::size_t>(kNumParameters);
}

}  // namespace

TEST_CASE("a job on one and on three ps: create, pull, push, snapshot, done; every ps ends with 0") {
  for (const auto& [num_ps, placement] : {std::pair{1u, PlacementPolicy::kSplit},
                                          {3u, PlacementPolicy::kSplit},
                                          {3u, PlacementPolicy::kRoundRobin}}) {  // the third ps holds nothing
    CAPTURE(num_ps);
    Job job{.num_ps = num_ps, .placement = placement};
    Servers servers(job.pick_ports());
    RemoteClient client(job.worker(0));

    const SessionInfo before = client.open();
    CHECK_FALSE(before.has_model);
    client.create(start_model(job.optimizer));
    Floats parameters;
    CHECK(client.pull(into(parameters)) == 0);
    CHECK(decreased_by(parameters, 0));

    CHECK(push_all(client, 2, 0, parameters) == 1);
    CHECK(decreased_by(parameters, 1));
    CHECK(push_all(client, 4, 1, parameters) == 2);
    CHECK(decreased_by(parameters, 3));

    const StoredModel stored = client.snapshot();
    CHECK(stored.global_step == 2);
    CHECK(stored.parameters == parameters);
    CHECK(stored.slots.empty());
    CHECK(stored.consumed_samples == ConsumedSamples{{0, 2 * kBatchSamples}});

    CHECK(client.await_others(1000));
    client.done();
    for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
  }
}

TEST_CASE("gradients and the parameters of a turn travel in the wire's type; what is evaluated and saved is float32") {
  for (const WireDtype dtype : {WireDtype::kBf16, WireDtype::kF16}) {
    for (const auto& [num_ps, sync] : {std::pair{1u, false}, {2u, false}, {2u, true}}) {
      CAPTURE(to_string(dtype), num_ps, sync);
      Job job{.num_ps = num_ps};
      Servers servers(job.pick_ports());
      RemoteClientConfig config = job.worker(0);
      config.wire_dtype = dtype;
      config.strategy.sync = sync;
      config.strategy.replicas_to_aggregate = 1;
      config.strategy.train_steps = 100;
      RemoteClient client(config);
      client.open();
      StoredModel model = start_model(job.optimizer);
      model.strategy = config.strategy;
      std::ranges::fill(model.parameters, 1 + 1.0f / 65536);  // 1 in either type
      client.create(model);
      Floats parameters;
      client.join(into(parameters));
      // ps 0's are of the turn, and so are the others' where it decides.
      CHECK(parameters[0] == 1);
      client.pull(into(parameters));
      CHECK(std::ranges::all_of(parameters, [](float each) { return each == 1 + 1.0f / 65536; }));

      const std::int64_t sent_before = client.costs().sent_bytes;
      CHECK(push_all(client, 1 + 1.0f / 65536, 0, parameters) == 1);
      CHECK(client.costs().sent_bytes - sent_before < 3 * kNumParameters);
      CHECK(std::ranges::all_of(parameters, [](float each) { return each == 0.5f; }));
      CHECK(client.snapshot().parameters == Floats(parameters.size(), 0.5f + 1.0f / 65536));
      client.leave();
    }
  }
}

TEST_CASE("pushes of several workers at once are all applied, each once") {
  Job job{.num_ps = 2, .num_workers = 3};
  Servers servers(job.pick_ports());
  constexpr int kPushes = 20;
  const auto work = [&](std::uint32_t index) {
    RemoteClient client(job.worker(index));
    if (!client.open().has_model) client.create(start_model(job.optimizer));
    Floats parameters;
    std::int64_t step = client.pull(into(parameters));
    for (int i = 0; i < kPushes; ++i) step = push_all(client, 2, step, parameters);
    if (index != 0) {
      client.done();
      return Floats();
    }
    REQUIRE(client.await_others(60'000));
    const StoredModel stored = client.snapshot();
    CHECK(stored.global_step == 3 * kPushes);
    constexpr std::int64_t kSamples = kPushes * kBatchSamples;
    CHECK(stored.consumed_samples == ConsumedSamples{{0, kSamples}, {1, kSamples}, {2, kSamples}});
    client.done();
    return stored.parameters;
  };
  std::vector<std::future<Floats>> workers;
  for (std::uint32_t index = 0; index < 3; ++index) workers.push_back(std::async(std::launch::async, work, index));
  CHECK(decreased_by(workers[0].get(), 3 * kPushes));
  for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
}

TEST_CASE("snapshots during training are of whole pushes: every parameter has seen as many as the step says") {
  Job job{.num_ps = 2, .num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient chief(job.worker(0));
  chief.open();
  chief.create(start_model(job.optimizer));
  std::atomic<bool> enough = false;
  auto other = std::async(std::launch::async, [&] {
    RemoteClient client(job.worker(1));
    client.open();
    Floats parameters;
    for (std::int64_t step = 0; !enough;) step = push_all(client, 2, step, parameters);
    client.done();
  });
  for (int i = 0; i < 20; ++i) {
    const StoredModel stored = chief.snapshot();
    CHECK(decreased_by(stored.parameters, static_cast<float>(stored.global_step)));
  }
  enough = true;
  other.get();
  chief.done();
  for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
}

TEST_CASE("a snapshot during which a ps stalls for longer than pushes are held is of whole pushes all the same") {
  Job job{.num_ps = 2, .num_workers = 2};
  job.pick_ports();
  MortalPs quick(job.ports[0], job.identity(0)), stalled(job.ports[1], job.identity(1));
  RemoteClient chief(job.worker(0)), worker(job.worker(1));
  chief.open();
  chief.create(start_model(job.optimizer));
  worker.open();
  stalled.pause();
  auto snapshot = std::async(std::launch::async, [&] { return chief.snapshot(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  auto push = std::async(std::launch::async, [&] {
    Floats parameters;
    return push_all(worker, 2, 0, parameters);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(kSnapshotHoldMs + 500));  // The quick ps applies the push.
  stalled.resume();
  CHECK(push.get() == 1);
  const StoredModel stored = snapshot.get();
  CHECK(decreased_by(stored.parameters, static_cast<float>(stored.global_step)));
}

TEST_CASE("a stored model with slots goes to the ps and comes back bit for bit, on another number of ps") {
  StoredModel model = start_model(OptimizerSpec{}, 123);
  model.slots = {counting(0.5f), counting(7)};
  model.consumed_samples = {{0, 60}, {1, 63}};
  for (const std::uint32_t num_ps : {1u, 3u}) {
    Job job{.num_ps = num_ps, .optimizer = OptimizerSpec{}};
    Servers servers(job.pick_ports());
    RemoteClient client(job.worker(0));
    client.open();
    client.create(model);
    const StoredModel stored = client.snapshot();
    CHECK(stored.global_step == 123);
    CHECK(stored.parameters == model.parameters);
    CHECK(stored.slots == model.slots);
    CHECK(stored.consumed_samples == model.consumed_samples);
    client.done();
  }
}

TEST_CASE("workers may start before the ps tasks and before the chief") {
  Job job{.num_ps = 2, .num_workers = 2};
  job.pick_ports();
  auto second = std::async(std::launch::async, [&] {
    RemoteClient client(job.worker(1));
    const SessionInfo info = client.open();
    client.done();
    return info.has_model;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  Servers servers(job);
  RemoteClient chief(job.worker(0));
  chief.open();
  chief.create(start_model(job.optimizer));
  CHECK(second.get());
  chief.done();
  for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
}

TEST_CASE("a second process for a task is turned away while the first one lives, even if that one only computes") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient first(job.worker(0));
  first.open();
  first.create(start_model(job.optimizer));
  // Nobody drives the first client now: its heartbeat answers for it.
  RemoteClientConfig config = job.worker(0);
  config.incarnation = 11;
  CHECK(fails_with(ExitCode::kConflict, "worker:0 is already running", [&] { RemoteClient(config).open(); }));
  Floats parameters;
  CHECK(push_all(first, 2, 0, parameters) == 1);
  first.leave();
}

TEST_CASE("a process that takes a dead one's task over goes on with its model and its position in the data") {
  Job job;
  Servers servers(job.pick_ports());
  Floats parameters;
  {
    RemoteClient first(job.worker(0));
    first.open();
    first.create(start_model(job.optimizer));
    push_all(first, 2, 0, parameters);
  }  // gone without a word
  RemoteClientConfig config = job.worker(0);
  config.incarnation = 11;
  RemoteClient second(config);
  const SessionInfo info = second.open();
  CHECK(info.has_model);
  CHECK(info.global_step == 1);
  CHECK(second.join(into(parameters)).consumed_samples == kBatchSamples);
  CHECK(push_all(second, 2, 1, parameters) == 2);
  CHECK(decreased_by(parameters, 2));
  second.done();
  CHECK(servers.ps[0]->wait() == ExitCode::kOk);
}

TEST_CASE("a worker that does not fit the job is refused with the ps's reason") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient chief(job.worker(0));
  chief.open();
  chief.create(start_model(job.optimizer));

  RemoteClientConfig other_flags = job.worker(1);
  other_flags.fingerprint[1].second = "100";
  CHECK(fails_with(ExitCode::kVersion, "--batch_size is 100 here and 50 at the chief",
                   [&] { RemoteClient(other_flags).open(); }));
  RemoteClientConfig other_cluster = job.worker(1);
  other_cluster.num_workers = 5;
  CHECK(fails_with(ExitCode::kUsage, "the cluster descriptions differ", [&] { RemoteClient(other_cluster).open(); }));
  RemoteClientConfig no_such_worker = job.worker(7);
  CHECK(fails_with(ExitCode::kUsage, "worker:7 is not in the cluster", [&] { RemoteClient(no_such_worker).open(); }));
  chief.leave();
}

TEST_CASE("a worker of another protocol version is told so and the ps lives on") {
  Job job;
  Servers servers(job.pick_ports());
  WireContext context;
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
                     "refuse 5: ps:0 speaks protocol version 3 and was addressed in version 99"));

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

TEST_CASE("a ps that dies in the middle of a run is noticed, and given up after the recovery time") {
  Job job{.num_ps = 2, .recovery_wait_ms = 500};
  job.pick_ports();
  MortalPs survivor(job.ports[0], job.identity(0)), victim(job.ports[1], job.identity(1));
  RemoteClient client(job.worker(0));
  client.open();
  client.create(start_model(job.optimizer));
  victim.kill();
  Floats parameters;
  CHECK(fails_with(ExitCode::kLostPeer, fmt::format("ps:1 127.0.0.1:{}", job.ports[1]),
                   [&] { push_all(client, 2, 0, parameters); }));
}

TEST_CASE("a ps that was started again has lost the model: the session is lost, and the chief can create it anew") {
  Job job{.num_ps = 2};
  job.pick_ports();
  MortalPs survivor(job.ports[0], job.identity(0)), victim(job.ports[1], job.identity(1));
  RemoteClient client(job.worker(0));
  client.open();
  client.create(start_model(job.optimizer));
  Floats parameters;
  push_all(client, 2, 0, parameters);

  victim.kill();
  victim.start();
  CHECK_THROWS_AS(push_all(client, 2, 1, parameters), SessionLost);
  CHECK_FALSE(client.open().has_model);
  client.create(start_model(job.optimizer, 40));
  CHECK(push_all(client, 2, 40, parameters) == 41);
  CHECK(decreased_by(parameters, 1));
}

TEST_CASE("a worker without a model of its own learns of a lost ps as well, and goes on with the chief's new model") {
  Job job{.num_workers = 2};
  job.pick_ports();
  MortalPs ps(job.ports[0], job.identity(0));
  RemoteClient chief(job.worker(0)), worker(job.worker(1));
  chief.open();
  chief.create(start_model(job.optimizer));
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

TEST_CASE("waiting for the others ends at its limit") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient chief(job.worker(0));
  chief.open();
  chief.create(start_model(job.optimizer));
  CHECK_FALSE(chief.await_others(100));
  // The question that was given up does not disturb what follows.
  Floats parameters;
  CHECK(push_all(chief, 2, 0, parameters) == 1);
  chief.leave();
}

TEST_CASE("a stop ends the wait for the others, and the chief can still take its snapshot") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClientConfig config = job.worker(0);
  bool stop = false;
  config.stop_requested = [&stop] { return stop; };
  RemoteClient chief(config);
  chief.open();
  chief.create(start_model(job.optimizer));
  stop = true;
  const TimeMs began = monotonic_ms();
  CHECK_FALSE(chief.await_others(60'000));
  CHECK(monotonic_ms() - began < 30'000);
  CHECK(chief.snapshot().global_step == 0);
  chief.leave();
}

}  // namespace distmnist
