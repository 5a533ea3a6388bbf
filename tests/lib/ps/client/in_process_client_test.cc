#include "lib/ps/client/in_process_client.h"

#include <algorithm>
#include <cmath>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/into.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

OptimizerSpec sgd() {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kSgd;
  spec.learning_rate = 0.5f;
  return spec;
}

}  // namespace

TEST_CASE("the in-process client creates, pulls, pushes and stores like a remote one") {
  InProcessClient client({{"weights", {0, 2}}, {"biases", {2, 1}}}, sgd());
  CHECK_FALSE(client.open().has_model);
  StoredModel model;
  model.global_step = 10;
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
  client.begin_push(numbers_of(gradients), 10, 50);
  client.push({0, 2});
  client.push({2, 1});
  const Turn next = client.finish_push(into(parameters));
  CHECK(next.global_step == 11);
  CHECK(next.consumed_samples == 450);
  CHECK(next.accepted);
  CHECK(parameters == Floats{0, 0, 0});
  CHECK(gradients == Floats{2, 4, 6});

  const StoredModel stored = client.snapshot().value();
  CHECK(stored.global_step == 11);
  CHECK(stored.parameters == Floats{0, 0, 0});
  CHECK(stored.consumed_samples == ConsumedSamples{{0, 450}, {1, 600}});
  CHECK(client.await_others(0));
}

TEST_CASE("the in-process client keeps the optimizer's slots") {
  InProcessClient client({{"weights", {0, 2}}}, default_optimizer(OptimizerKind::kAdam));
  StoredModel model;
  model.parameters = {1, 2};
  model.slots = {{3, 4}, {5, 6}};
  client.create(model);
  CHECK(client.snapshot().value().slots == model.slots);
  Floats parameters(2);
  const Floats gradients = {1, 1};
  client.begin_push(numbers_of(gradients), 0, 50);
  client.finish_push(into(parameters));
  CHECK(client.snapshot().value().slots != model.slots);
}

namespace {

// Three parameters in two variables, all 1, with SGD at rate 0.5.
struct Local {
  explicit Local(OnNan on_nan) : client({{"weights", {0, 2}}, {"biases", {2, 1}}}, sgd(), on_nan) {
    StoredModel model;
    model.parameters = {1, 1, 1};
    client.create(model);
  }
  Turn push(const Floats& gradients, bool drop = false) {
    client.begin_push(numbers_of(gradients), 0, 50);
    client.push({2, 1});
    client.push({0, 2});
    if (drop) client.drop_push();
    return client.finish_push(into(parameters));
  }
  InProcessClient client;
  Floats parameters = Floats(3);
};

}  // namespace

TEST_CASE("a gradient that is not finite ends local training before any of it is applied") {
  Local local(OnNan::kFail);
  CHECK(fails_with(ExitCode::kDiverged, "a gradient has nan in weights at global_step 0; drop", [&] {
    local.push({1, NAN, 1});
  }));
  CHECK(fails_with(ExitCode::kDiverged, "1e+22 (beyond 1e+15) in biases", [&] { local.push({1, 1, 1e22f}); }));
  CHECK(local.client.snapshot().value().parameters == Floats{1, 1, 1});
}

TEST_CASE("skip: local training drops a gradient that is not finite and continues with the next") {
  Local local(OnNan::kSkip);
  const Turn dropped = local.push({1, 1, INFINITY});
  CHECK_FALSE(dropped.accepted);
  CHECK_FALSE(dropped.finite);
  CHECK(dropped.global_step == 0);
  CHECK(dropped.consumed_samples == 50);
  CHECK(local.parameters == Floats{1, 1, 1});
  CHECK_FALSE(local.push({2, 2, 2}, true).finite);
  const Turn next = local.push({2, 2, 2});
  CHECK(next.finite);
  CHECK(next.global_step == 1);
  CHECK(next.consumed_samples == 150);
  CHECK(local.parameters == Floats{0, 0, 0});
}

TEST_CASE("skip: if all gradients are bad, local training ends") {
  Local local(OnNan::kSkip);
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i < kMaxSkippedInARow; ++i) local.push({NAN, 1, 1});
    if (round == 0) local.push({0, 0, 0});
  }
  CHECK(fails_with(ExitCode::kDiverged, "nan in weights at global_step 1, the 10th in a row", [&] {
    local.push({NAN, 1, 1});
  }));
}

}  // namespace distmnist
