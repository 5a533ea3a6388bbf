#include "lib/worker/resident_client.h"

#include "tests/support/catch.h"
#include "tests/support/into.h"
#include "tests/support/local_run.h"

using namespace distmnist;

namespace {

struct Device {
  explicit Device(OptimizerKind kind = OptimizerKind::kAdam) {
    executor = make_backend("reference")->compile(graph, {.max_batch_size = 4});
    executor->resident_training()->keep_samples({data.train.count, data.train.pixels, data.train.labels});
    OptimizerSpec optimizer = default_optimizer(kind);
    optimizer.learning_rate = 0.01f;
    client = std::make_unique<ResidentClient>(*executor, graph.num_parameters, optimizer);
    model.global_step = 7;
    model.parameters.assign(static_cast<std::size_t>(graph.num_parameters), 0.01f);
    model.slots.assign(slot_names(kind).size(), std::vector<float>(model.parameters.size(), 0.5f));
    model.consumed_samples = {{0, 70}, {2, 90}};
  }

  Turn run(std::vector<std::int32_t> samples, std::uint64_t first_sample) {
    return client->run({.batch_size = 4, .samples = samples, .first_sample = first_sample});
  }

  Graph graph = softmax();
  TrainAndTest data = small_digits();
  std::unique_ptr<Executor> executor;
  std::unique_ptr<ResidentClient> client;
  StoredModel model;
};

}  // namespace

TEST_CASE("a session on the device has no model until one is created") {
  Device device;
  CHECK_FALSE(device.client->open().has_model);
  device.client->create(device.model);
  CHECK(device.client->open().has_model);
  CHECK(device.client->open().global_step == 7);
}

TEST_CASE("a snapshot returns the created model, for every optimizer") {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kMomentum, OptimizerKind::kAdam}) {
    Device device(kind);
    device.client->create(device.model);
    const StoredModel snapshot = device.client->snapshot().value();
    CHECK(snapshot.global_step == 7);
    CHECK(snapshot.parameters == device.model.parameters);
    CHECK(snapshot.slots == device.model.slots);
    CHECK(snapshot.consumed_samples == ConsumedSamples{{0, 70}, {2, 90}});
  }
}

TEST_CASE("steps count in global_step and in the samples, and the snapshot has their parameters and slots") {
  Device device, twin;
  device.client->create(device.model);
  const Turn turn = device.run({0, 1, 2, 3, 9, 8, 7, 6}, 70);
  CHECK(turn.global_step == 9);
  CHECK(turn.consumed_samples == 78);
  CHECK(turn.accepted);
  CHECK(device.client->last_step().loss > 0);
  CHECK(device.client->open().global_step == 9);

  const StoredModel snapshot = device.client->snapshot().value();
  CHECK(snapshot.global_step == 9);
  CHECK(snapshot.consumed_samples == ConsumedSamples{{0, 78}, {2, 90}});
  CHECK(snapshot.parameters != device.model.parameters);
  CHECK(snapshot.slots[0] != device.model.slots[0]);

  // Training can continue from a snapshot.
  twin.client->create(snapshot);
  for (Device* each : {&device, &twin}) each->run({5, 5, 4, 1}, 78);
  CHECK(twin.client->snapshot().value().parameters == device.client->snapshot().value().parameters);
  CHECK(twin.client->snapshot().value().slots == device.client->snapshot().value().slots);
}

TEST_CASE("pull returns the parameters and does not load into the executor what it already has") {
  Device device;
  device.client->create(device.model);
  device.run({0, 1, 2, 3}, 70);
  std::vector<float> pulled(device.model.parameters.size());
  CHECK(device.client->pull(into(pulled)) == 8);
  CHECK(device.client->pull(*device.executor) == 8);
  CHECK(device.client->global_step() == 8);
  CHECK(device.client->consumed_samples() == 74);
  CHECK(pulled == device.client->snapshot().value().parameters);
}
