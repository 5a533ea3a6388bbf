#include "lib/ps/client/remote_client.h"

#include <algorithm>
#include <future>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/remote_job.h"

namespace distmnist {

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
    CHECK(client.pull(into_new(parameters)) == 0);
    CHECK(decreased_by(parameters, 0));
    CHECK(join(client) == 0);

    CHECK(push_all(client, 2, 0, parameters) == 1);
    CHECK(decreased_by(parameters, 1));
    CHECK(push_all(client, 4, 1, parameters) == 2);
    CHECK(decreased_by(parameters, 3));

    const StoredModel stored = client.snapshot().value();
    CHECK(stored.global_step == 2);
    CHECK(stored.parameters == parameters);
    CHECK(stored.slots.empty());
    CHECK(stored.consumed_samples == ConsumedSamples{{0, 2 * kBatchSamples}});

    CHECK(client.await_others(1000));
    client.done();
    for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
  }
}

TEST_CASE("gradients and a turn's parameters travel in the wire type; evaluation and snapshots use float32") {
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
      std::ranges::fill(model.parameters, 1 + 1.0f / 65536);  // 1 in either type
      client.create(model);
      Floats parameters;
      client.join(into_new(parameters));
      // The parameters of ps 0 belong to the turn, and those of the others too if ps 0 decides.
      CHECK(parameters[0] == 1);
      client.pull(into_new(parameters));
      CHECK(std::ranges::all_of(parameters, [](float each) { return each == 1 + 1.0f / 65536; }));

      const std::int64_t sent_before = client.costs().sent_bytes;
      CHECK(push_all(client, 1 + 1.0f / 65536, 0, parameters) == 1);
      CHECK(client.costs().sent_bytes - sent_before < 3 * kNumParameters);
      CHECK(std::ranges::all_of(parameters, [](float each) { return each == 0.5f; }));
      CHECK(client.snapshot().value().parameters == Floats(parameters.size(), 0.5f + 1.0f / 65536));
      client.leave();
    }
  }
}

TEST_CASE("simultaneous pushes of several workers are all applied, each once") {
  Job job{.num_ps = 2, .num_workers = 3};
  Servers servers(job.pick_ports());
  constexpr int kPushes = 20;
  const auto work = [&](std::uint32_t index) {
    RemoteClient client(job.worker(index));
    if (!client.open().has_model) client.create(start_model(job.optimizer));
    Floats parameters;
    std::int64_t step = join(client);
    for (int i = 0; i < kPushes; ++i) step = push_all(client, 2, step, parameters);
    if (index != 0) {
      client.done();
      return Floats();
    }
    REQUIRE(client.await_others(60'000));
    const StoredModel stored = client.snapshot().value();
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

TEST_CASE("snapshots during training contain whole pushes: every parameter has as many updates as the step says") {
  Job job{.num_ps = 2, .num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient chief(job.worker(0));
  start(chief, job);
  std::atomic<bool> enough = false;
  auto other = std::async(std::launch::async, [&] {
    RemoteClient client(job.worker(1));
    client.open();
    Floats parameters;
    for (std::int64_t step = join(client); !enough;) step = push_all(client, 2, step, parameters);
    client.done();
  });
  for (int i = 0; i < 20; ++i) {
    const StoredModel stored = chief.snapshot().value_or(StoredModel{});
    CHECK(decreased_by(stored.parameters, static_cast<float>(stored.global_step)));
  }
  enough = true;
  chief.done();
  other.get();
  for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
}

TEST_CASE("a snapshot contains whole pushes even if a ps stalls for longer than pushes are held") {
  Job job{.num_ps = 2, .num_workers = 2};
  job.pick_ports();
  MortalPs quick(job.ports[0], job.identity(0)), stalled(job.ports[1], job.identity(1));
  RemoteClient chief(job.worker(0)), worker(job.worker(1));
  start(chief, job);
  worker.open();
  join(worker);
  stalled.pause();
  auto snapshot = std::async(std::launch::async, [&] { return chief.snapshot().value(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  auto push = std::async(std::launch::async, [&] {
    Floats parameters;
    return push_all(worker, 2, 0, parameters);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(kSnapshotHoldMs + 500));  // ps 0 ends the hold
  stalled.resume();
  CHECK(push.get() == 1);
  const StoredModel stored = snapshot.get();
  CHECK(decreased_by(stored.parameters, static_cast<float>(stored.global_step)));
}

TEST_CASE("a stored model with slots is loaded and read back bit for bit, on different numbers of ps tasks") {
  StoredModel model = start_model(OptimizerSpec{}, 123);
  model.slots = {counting(0.5f), counting(7)};
  model.consumed_samples = {{0, 60}, {1, 63}};
  for (const std::uint32_t num_ps : {1u, 3u}) {
    Job job{.num_ps = num_ps, .optimizer = OptimizerSpec{}};
    Servers servers(job.pick_ports());
    RemoteClient client(job.worker(0));
    client.open();
    client.create(model);
    const StoredModel stored = client.snapshot().value();
    CHECK(stored.global_step == 123);
    CHECK(stored.parameters == model.parameters);
    CHECK(stored.slots == model.slots);
    CHECK(stored.consumed_samples == model.consumed_samples);
    client.done();
  }
}

TEST_CASE("workers can start before the ps tasks and before the chief") {
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
  start(chief, job);
  chief.done();
  CHECK(second.get());
  for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
}

TEST_CASE("a second process for a task is refused while the first one lives, even if that one only computes") {
  Job job{.num_workers = 2};
  Servers servers(job.pick_ports());
  RemoteClient first(job.worker(0));
  start(first, job);
  // The first client is idle now: only its heartbeat answers.
  RemoteClientConfig config = job.worker(0);
  config.incarnation = 11;
  CHECK(fails_with(ExitCode::kConflict, "worker:0 is already running", [&] { RemoteClient(config).open(); }));
  Floats parameters;
  CHECK(push_all(first, 2, 0, parameters) == 1);
  first.leave();
}

TEST_CASE("a process that takes over a dead process's task continues with its model and its data position") {
  Job job;
  Servers servers(job.pick_ports());
  Floats parameters;
  {
    RemoteClient first(job.worker(0));
    start(first, job);
    push_all(first, 2, 0, parameters);
  }  // ends without a message
  RemoteClientConfig config = job.worker(0);
  config.incarnation = 11;
  RemoteClient second(config);
  const SessionInfo info = second.open();
  CHECK(info.has_model);
  CHECK(info.global_step == 1);
  CHECK(second.join(into_new(parameters)).consumed_samples == kBatchSamples);
  CHECK(push_all(second, 2, 1, parameters) == 2);
  CHECK(decreased_by(parameters, 2));
  second.done();
  CHECK(servers.ps[0]->wait() == ExitCode::kOk);
}

namespace {

// Zero gradients except for one NaN, in the last bias, which is on the last ps.
Floats nan_gradients() {
  Floats gradients(static_cast<std::size_t>(kNumParameters), 2);
  gradients.back() = NAN;
  return gradients;
}

// When a ps refuses, parts of the gradients are still being sent to other ps tasks, so the gradients must outlive the
// client.
Turn push_nan(ParameterClient& client, const Floats& gradients, std::int64_t step, Floats& parameters) {
  client.begin_push(numbers_of(gradients), step, kBatchSamples);
  client.push(kVariables[1].range);
  client.push(kVariables[0].range);
  return client.finish_push(into_new(parameters));
}

}  // namespace

TEST_CASE("a push that one ps finds bad ends the run on all ps tasks with 8, because its worker tells them") {
  for (const bool sync : {false, true}) {
    Job job{.num_ps = 3};
    Servers servers(job.pick_ports());
    RemoteClientConfig config = job.worker(0);
    config.strategy.sync = sync;
    config.strategy.replicas_to_aggregate = 1;
    config.strategy.train_steps = 100;
    const Floats bad = nan_gradients();
    RemoteClient client(config);
    client.open();
    client.create(start_model(job.optimizer));
    Floats parameters;
    client.join(into_new(parameters));
    const std::string words = "worker:0 pushed a gradient with nan in fc/biases at global_step 0";
    CHECK(fails_with(ExitCode::kDiverged, words, [&] { push_nan(client, bad, 0, parameters); }));
    client.fail_run("said by nobody, for a ps has said why");
    for (auto& ps : servers.ps) CHECK(fails_with(ExitCode::kDiverged, words, [&] { ps->wait(); }));
  }
}

TEST_CASE("a worker's own reason to end the run reaches every ps") {
  Job job{.num_ps = 2};
  Servers servers(job.pick_ports());
  RemoteClient client(job.worker(0));
  start(client, job);
  client.fail_run("the loss is nan");
  for (auto& ps : servers.ps) {
    CHECK(fails_with(ExitCode::kDiverged, "worker:0 has ended the run: the loss is nan", [&] { ps->wait(); }));
  }
}

TEST_CASE("skip: a push that one ps or its worker finds bad is dropped on all ps tasks, and training continues") {
  for (const std::uint32_t num_ps : {1u, 3u}) {
    Job job{.num_ps = num_ps};
    Servers servers(job.pick_ports());
    RemoteClientConfig config = job.worker(0);
    config.strategy.on_nan = OnNan::kSkip;
    config.strategy.train_steps = 100;
    const Floats bad = nan_gradients();
    RemoteClient client(config);
    client.open();
    client.create(start_model(job.optimizer));
    Floats parameters;
    client.join(into_new(parameters));
    const Turn dropped = push_nan(client, bad, 0, parameters);
    CHECK_FALSE(dropped.accepted);
    CHECK_FALSE(dropped.finite);
    CHECK(dropped.global_step == 0);
    CHECK(dropped.consumed_samples == kBatchSamples);
    CHECK(decreased_by(parameters, 0));

    const Floats gradients(static_cast<std::size_t>(kNumParameters), 2);
    client.begin_push(numbers_of(gradients), 0, kBatchSamples);
    for (const NamedRange& variable : kVariables) client.push(variable.range);
    client.drop_push();
    CHECK_FALSE(client.finish_push(into_new(parameters)).finite);
    CHECK(decreased_by(parameters, 0));

    CHECK(push_all(client, 2, 0, parameters) == 1);
    CHECK(decreased_by(parameters, 1));
    CHECK(client.snapshot().value().consumed_samples == ConsumedSamples{{0, 3 * kBatchSamples}});
    client.done();
    for (auto& ps : servers.ps) CHECK(ps->wait() == ExitCode::kOk);
  }
}

}  // namespace distmnist
