#include "lib/ps/variable_store.h"

#include <algorithm>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

Floats copy(std::span<const float> values) {
  return {values.begin(), values.end()};
}

OptimizerSpec sgd(float learning_rate) {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kSgd;
  spec.learning_rate = learning_rate;
  return spec;
}

}  // namespace

TEST_CASE("a new store is all zeros, with a slot for each that the optimizer has") {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kMomentum, OptimizerKind::kAdam,
                                   OptimizerKind::kAdagrad, OptimizerKind::kRmsprop}) {
    OptimizerSpec spec;
    spec.kind = kind;
    const VariableStore store({{0, 2}, {6, 3}}, spec, 17);
    CHECK(store.num_slots() == slot_names(kind).size());
    CHECK(store.global_step() == 17);
    CHECK(store.commit() == 0);
    for (std::size_t slot = 0; slot <= store.num_slots(); ++slot) {
      CHECK(copy(store.values(slot, 0)) == Floats{0, 0});
      CHECK(copy(store.values(slot, 1)) == Floats{0, 0, 0});
    }
  }
}

TEST_CASE("an update changes every chunk and counts once") {
  VariableStore store({{0, 2}, {6, 1}}, sgd(0.5f), 10);
  std::ranges::copy(Floats{1, 2}, store.values(0, 0).begin());
  std::ranges::copy(Floats{3}, store.values(0, 1).begin());
  Floats updated(2), gradient = {2, 4};
  store.begin_update();
  store.apply(0, gradient, updated);
  CHECK(updated == Floats{0, 0});
  CHECK(gradient == Floats{2, 4});
  Floats in_place = {6};
  store.apply(1, in_place, in_place);  // The answer is written over the gradient.
  CHECK(in_place == Floats{0});
  CHECK(copy(store.values(0, 0)) == Floats{0, 0});
  CHECK(copy(store.values(0, 1)) == Floats{0});
  CHECK(store.global_step() == 11);
  CHECK(store.commit() == 1);
}

TEST_CASE("a restored model goes on with Adam's count of updates, not from 1") {
  OptimizerSpec adam;
  VariableStore store({{0, 1}}, adam, 41);
  store.values(0, 0)[0] = 1.0f;
  store.values(1, 0)[0] = 0.1f;
  store.values(2, 0)[0] = 0.2f;
  Floats gradient = {0.3f}, answer(1);
  store.begin_update();
  store.apply(0, gradient, answer);

  Floats p = {1.0f}, m = {0.1f}, v = {0.2f}, out(1);
  const std::vector<std::span<float>> slots = {m, v};
  apply_update(adam, 42, p, slots, gradient, out);
  CHECK(answer == out);
  CHECK(copy(store.values(1, 0)) == m);
  CHECK(copy(store.values(2, 0)) == v);
}

TEST_CASE("the learning rate follows the count of updates, also of a restored model") {
  OptimizerSpec spec = sgd(8);
  spec.learning_rate.schedule = LearningRateSchedule::kStaircase;
  spec.learning_rate.decay_steps = 10;
  spec.learning_rate.decay_rate = 0.5f;
  VariableStore store({{0, 1}}, spec, 19);
  Floats one = {1}, answer(1);
  store.begin_update();  // 19 updates before it
  store.apply(0, one, answer);
  CHECK(answer == Floats{-4});
  store.begin_update();
  store.apply(0, one, answer);
  CHECK(answer == Floats{-6});
}

TEST_CASE("a factor for the learning rate holds for every chunk of one update") {
  VariableStore store({{0, 1}, {1, 1}}, sgd(8), 0);
  Floats one = {1}, answer(1);
  for (const std::size_t chunk : {0, 1}) {
    if (chunk == 0) store.begin_update(0.25f);
    store.apply(chunk, one, answer);
    CHECK(answer == Floats{-2});
  }
  store.begin_update();
  store.apply(0, one, answer);
  CHECK(answer == Floats{-10});
}

TEST_CASE("slots and parameters of a chunk do not touch those of the next") {
  OptimizerSpec momentum;
  momentum.kind = OptimizerKind::kMomentum;
  momentum.learning_rate = 1;
  VariableStore store({{0, 1}, {1, 1}}, momentum, 0);
  Floats one = {1}, out(1);
  store.begin_update();
  store.apply(0, one, out);
  CHECK(copy(store.values(0, 0)) == Floats{-1});
  CHECK(copy(store.values(1, 0)) == Floats{1});
  CHECK(copy(store.values(0, 1)) == Floats{0});
  CHECK(copy(store.values(1, 1)) == Floats{0});
}

}  // namespace distmnist
