#include "lib/ps/store/variable_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/base/random.h"
#include "lib/base/thread_pool.h"
#include "lib/math/mean.h"
#include "tests/support/catch.h"
#include "tests/support/comparable_specs.h"

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

// More than one block and more than the threads' shares, and not a multiple of any vector length.
constexpr std::int64_t kManyFloats = 70'003;

constexpr WireDtype kDtypes[] = {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16};

Floats noise(std::uint64_t stream) {
  Random random(5, stream);
  Floats out(static_cast<std::size_t>(kManyFloats));
  for (float& each : out) each = random.uniform() - 0.5f;
  return out;
}

std::vector<std::byte> numbers_of(const Floats& values, WireDtype dtype) {
  std::vector<std::byte> out(values.size() * bytes_per_number(dtype));
  write_numbers(values, dtype, out);
  return out;
}

// The content of a one-chunk store, slot after slot, after two updates with the mean of `num_gradients` gradients, and
// the final content of the first gradient's memory.
struct Outcome {
  std::vector<Floats> slots;
  std::vector<std::byte> answer;
  bool operator==(const Outcome&) const = default;
};

Outcome update_twice(const OptimizerSpec& spec, WireDtype dtype, std::size_t num_gradients, ThreadPool* pool) {
  VariableStore store({{0, kManyFloats}}, spec, 3);
  for (std::size_t slot = 0; slot <= store.num_slots(); ++slot) {
    Floats start = noise(slot);
    for (float& each : start) each = slot == 0 ? each : std::abs(each) + 0.1f;
    std::ranges::copy(start, store.values(slot, 0).begin());
  }
  Outcome outcome;
  for (const float rate_factor : {1.0f, 0.5f}) {
    std::vector<std::vector<std::byte>> memory;
    std::vector<Numbers> gradients;
    for (std::size_t i = 0; i < num_gradients; ++i) memory.push_back(numbers_of(noise(10 + i), dtype));
    for (const auto& bytes : memory) gradients.push_back({dtype, bytes});
    store.begin_update(rate_factor);
    store.apply(0, gradients, memory[0], pool);
    outcome.answer = memory[0];
  }
  for (std::size_t slot = 0; slot <= store.num_slots(); ++slot) outcome.slots.push_back(copy(store.values(slot, 0)));
  return outcome;
}

// The same in separate steps: convert everything, sum, divide, update the whole block, convert everything.
Outcome update_twice_plainly(const OptimizerSpec& spec, WireDtype dtype, std::size_t num_gradients) {
  Outcome outcome;
  for (std::size_t slot = 0; slot <= slot_names(spec.kind).size(); ++slot) {
    outcome.slots.push_back(noise(slot));
    for (float& each : outcome.slots[slot]) each = slot == 0 ? each : std::abs(each) + 0.1f;
  }
  const std::vector<std::span<float>> slots(outcome.slots.begin() + 1, outcome.slots.end());
  std::int64_t t = 3;
  for (const float rate_factor : {1.0f, 0.5f}) {
    Floats mean(static_cast<std::size_t>(kManyFloats)), addend = mean;
    for (std::size_t i = 0; i < num_gradients; ++i) {
      const std::vector<std::byte> gradient = numbers_of(noise(10 + i), dtype);
      read_numbers({dtype, gradient}, i == 0 ? mean : addend);
      if (i > 0) add_f32(addend, mean);
    }
    if (num_gradients > 1) divide(mean, static_cast<float>(num_gradients));
    apply_update_portable(spec, ++t, {outcome.slots[0], slots, mean, mean}, rate_factor);
    outcome.answer = numbers_of(mean, dtype);
  }
  return outcome;
}

}  // namespace

TEST_CASE("an update in one pass has the same bits as separate conversion, sum, update and conversion") {
  for (const OptimizerSpec& spec : comparable_specs()) {
    for (const WireDtype dtype : kDtypes) {
      for (const std::size_t num_gradients : {1, 2, 3}) {
        CAPTURE(to_string(spec.kind), spec.nesterov, to_string(dtype), num_gradients);
        CHECK(update_twice(spec, dtype, num_gradients, nullptr) == update_twice_plainly(spec, dtype, num_gradients));
      }
    }
  }
}

TEST_CASE("the bits do not depend on the number of threads") {
  const OptimizerSpec spec = comparable_spec(OptimizerKind::kAdam);
  for (const WireDtype dtype : kDtypes) {
    for (const std::size_t num_gradients : {1, 3}) {
      CAPTURE(to_string(dtype), num_gradients);
      const Outcome alone = update_twice(spec, dtype, num_gradients, nullptr);
      for (const int threads : {1, 2, 3, 7}) {
        ThreadPool pool(threads);
        CHECK(update_twice(spec, dtype, num_gradients, &pool) == alone);
      }
    }
  }
}

TEST_CASE("gradients of different types are summed with their values, and answered in the type of the first") {
  VariableStore store({{0, 2}}, sgd(1), 0);
  std::vector<std::byte> first = numbers_of({1, 3}, WireDtype::kBf16);
  const std::vector<std::byte> second = numbers_of({3, 2}, WireDtype::kF32);
  const std::vector<Numbers> gradients = {{WireDtype::kBf16, first}, {WireDtype::kF32, second}};
  store.begin_update();
  store.apply(0, gradients, first, nullptr);
  CHECK(copy(store.values(0, 0)) == Floats{-2, -2.5f});
  CHECK(first == numbers_of({-2, -2.5f}, WireDtype::kBf16));
}

TEST_CASE("NaN in a gradient makes its parameter NaN in every type") {
  for (const WireDtype dtype : kDtypes) {
    VariableStore store({{0, 3}}, sgd(1), 0);
    std::vector<std::byte> gradient = numbers_of({NAN, INFINITY, 1}, dtype);
    const Numbers numbers{dtype, gradient};
    store.begin_update();
    store.apply(0, {&numbers, 1}, gradient, nullptr);
    CHECK(std::isnan(store.values(0, 0)[0]));
    CHECK(store.values(0, 0)[1] == -INFINITY);
    CHECK(store.values(0, 0)[2] == -1);
  }
}

TEST_CASE("a new store is all zeros and has every slot of the optimizer") {
  for (const OptimizerKind kind : all_optimizers()) {
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
  store.apply(1, in_place, in_place);  // the answer is written over the gradient
  CHECK(in_place == Floats{0});
  CHECK(copy(store.values(0, 0)) == Floats{0, 0});
  CHECK(copy(store.values(0, 1)) == Floats{0});
  CHECK(store.global_step() == 11);
  CHECK(store.commit() == 1);
}

TEST_CASE("a restored model continues with Adam's count of updates instead of 1") {
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
  apply_update(adam, 42, {p, slots, gradient, out});
  CHECK(answer == out);
  CHECK(copy(store.values(1, 0)) == m);
  CHECK(copy(store.values(2, 0)) == v);
}

TEST_CASE("the learning rate follows the count of updates, also in a restored model") {
  OptimizerSpec spec = sgd(8);
  spec.learning_rate.schedule = LearningRateSchedule::kStaircase;
  spec.learning_rate.decay_steps = 10;
  spec.learning_rate.decay_rate = 0.5f;
  VariableStore store({{0, 1}}, spec, 19);
  Floats one = {1}, answer(1);
  store.begin_update();  // there were 19 updates before
  store.apply(0, one, answer);
  CHECK(answer == Floats{-4});
  store.begin_update();
  store.apply(0, one, answer);
  CHECK(answer == Floats{-6});
}

TEST_CASE("a factor for the learning rate applies to every chunk of one update") {
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

TEST_CASE("slots and parameters of a chunk do not overlap those of the next") {
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
