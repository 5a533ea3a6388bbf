#include "lib/ps/in_process_client.h"

#include <algorithm>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

OptimizerSpec sgd() {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kSgd;
  spec.learning_rate = 0.5f;
  return spec;
}

ParameterSink into(Floats& block) {
  return [&block](Range range, std::span<const float> values) {
    std::ranges::copy(values, slice(std::span(block), range).begin());
  };
}

}  // namespace

TEST_CASE("the in-process client creates, pulls, pushes and stores like a remote one") {
  InProcessClient client({{0, 2}, {2, 1}});
  CHECK_FALSE(client.open().has_model);
  StoredModel model;
  model.global_step = 10;
  model.optimizer = sgd();
  model.parameters = {1, 2, 3};
  model.consumed_samples = {{0, 400}, {1, 600}};
  client.create(model);
  const SessionInfo info = client.open();
  CHECK(info.has_model);
  CHECK(info.global_step == 10);

  Floats parameters(3);
  CHECK(client.pull(into(parameters)) == 10);
  const Turn first = client.join(into(parameters));
  CHECK(first.global_step == 10);
  CHECK(first.consumed_samples == 400);
  CHECK(parameters == Floats{1, 2, 3});

  const Floats gradients = {2, 4, 6};
  client.begin_push(gradients, 10, 50);
  client.push({0, 2});
  client.push({2, 1});
  const Turn next = client.finish_push(into(parameters));
  CHECK(next.global_step == 11);
  CHECK(next.consumed_samples == 450);
  CHECK(next.accepted);
  CHECK(parameters == Floats{0, 0, 0});
  CHECK(gradients == Floats{2, 4, 6});

  const StoredModel stored = client.snapshot();
  CHECK(stored.global_step == 11);
  CHECK(stored.parameters == Floats{0, 0, 0});
  CHECK(stored.optimizer == sgd());
  CHECK(stored.consumed_samples.at(0) == 450);
  CHECK(client.await_others(0));
}

TEST_CASE("the in-process client keeps the optimizer's slots") {
  InProcessClient client({{0, 2}});
  StoredModel model;
  model.parameters = {1, 2};
  model.slots = {{3, 4}, {5, 6}};  // Adam's
  client.create(model);
  CHECK(client.snapshot().slots == model.slots);
  Floats parameters(2);
  const Floats gradients = {1, 1};
  client.begin_push(gradients, 0, 50);
  client.finish_push(into(parameters));
  CHECK(client.snapshot().slots != model.slots);
}

}  // namespace distmnist
