#include "lib/ps/server/staged_pushes.h"

#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

// Pushes to a shard with three parameters in two chunks, with SGD at rate 1.
struct Script {
  Script() : store({{0, 2}, {2, 1}}, sgd(), 0) {}

  static OptimizerSpec sgd() {
    OptimizerSpec spec;
    spec.kind = OptimizerKind::kSgd;
    spec.learning_rate = 1;
    return spec;
  }
  PushId stage(std::uint32_t worker, std::uint64_t sequence, std::int64_t step, const Floats& gradient,
               std::uint64_t incarnation = 10) {
    WholePush push;
    push.header.dtype = WireDtype::kF32;
    push.header.worker = worker;
    push.header.incarnation = incarnation;
    push.header.sequence = sequence;
    push.header.step = step;
    push.gradients.push_back(trace::frame_of(Floats{gradient[0], gradient[1]}));
    push.gradients.push_back(trace::frame_of(Floats{gradient[2]}));
    const PushId id = id_of(push.header);
    staged.stage(std::move(push));
    return id;
  }
  Floats parameters() {
    Floats out;
    for (std::size_t chunk = 0; chunk < 2; ++chunk) {
      const std::span<const float> values = store.values(0, chunk);
      out.insert(out.end(), values.begin(), values.end());
    }
    return out;
  }

  VariableStore store;
  StagedPushes staged = StagedPushes(2);
};

}  // namespace

TEST_CASE("a staged push waits, identified by its worker, process and sequence") {
  Script script;
  const PushId id = script.stage(1, 5, 0, {1, 2, 3}, 12);
  CHECK(id == PushId{1, {12, 5}});
  CHECK(script.staged.has(id));
  CHECK_FALSE(script.staged.has({1, {12, 4}}));
  CHECK_FALSE(script.staged.has({0, {12, 5}}));
  CHECK(script.staged.at(id).header.step == 0);
  CHECK(script.parameters() == Floats{0, 0, 0});
  script.staged.discard(id);
  CHECK_FALSE(script.staged.has(id));
}

TEST_CASE("an update applies the mean of its pushes to every chunk and removes the pushes") {
  Script script;
  const Update update{1, {script.stage(0, 1, 0, {2, 4, 6}), script.stage(1, 1, 0, {4, 8, 10})}, 1};
  CHECK(script.staged.has_all(update));
  script.staged.make(update, script.store, nullptr);
  CHECK(script.parameters() == Floats{-3, -6, -8});
  CHECK(script.store.commit() == 1);
  for (const PushId& id : update.pushes) CHECK_FALSE(script.staged.has(id));
  CHECK_FALSE(script.staged.has_all(update));
}

TEST_CASE("an update returns its first push, with the new parameters in its memory") {
  Script script;
  const PushId first = script.stage(1, 1, 0, {4, 8, 10}), second = script.stage(0, 1, 0, {2, 4, 6});
  const std::byte* const memory = std::as_const(script.staged).at(first).gradients[0].bytes().data();
  const WholePush made = script.staged.make({1, {first, second}, 1}, script.store, nullptr);
  CHECK(id_of(made.header) == first);
  CHECK(made.gradients[0].bytes().data() == memory);
  CHECK(made.gradients[0].floats()[1] == -6);
  CHECK(made.gradients[1].floats()[0] == -8);
}

TEST_CASE("the learning rate of an update is scaled by its factor, for this update only") {
  Script script;
  script.staged.make({1, {script.stage(0, 1, 0, {8, 4, 2})}, 0.25f}, script.store, nullptr);
  CHECK(script.parameters() == Floats{-2, -1, -0.5f});
  script.staged.make({2, {script.stage(0, 2, 1, {1, 1, 1})}, 1}, script.store, nullptr);
  CHECK(script.parameters() == Floats{-3, -2, -1.5f});
}

TEST_CASE("the sum is computed in the update's order") {
  Script script;
  const PushId first = script.stage(0, 1, 0, {1e8f, 0, 0}), second = script.stage(1, 1, 0, {-1e8f, 0, 0}),
               third = script.stage(2, 1, 0, {3, 0, 0});
  SECTION("first, second, third") {
    script.staged.make({1, {first, second, third}, 1}, script.store, nullptr);
    CHECK(script.parameters()[0] == -1);
  }
  SECTION("first, third, second") {
    script.staged.make({1, {first, third, second}, 1}, script.store, nullptr);
    CHECK(script.parameters()[0] == 0);
  }
}

TEST_CASE("several pushes of a worker wait together if they are from the same parameters") {
  Script script;
  const PushId first = script.stage(0, 1, 4, {1, 1, 1}), second = script.stage(0, 2, 4, {2, 2, 2});
  CHECK(script.staged.has_all({1, {first, second}, 1}));
}

TEST_CASE("a push from different parameters shows that its worker's earlier pushes are decided; those of others stay") {
  Script script;
  const PushId dropped = script.stage(0, 1, 4, {1, 1, 1}), others = script.stage(1, 1, 4, {1, 1, 1});
  const PushId newer = script.stage(0, 2, 5, {2, 2, 2});
  CHECK_FALSE(script.staged.has(dropped));
  CHECK(script.staged.has(others));
  CHECK(script.staged.has(newer));
}

TEST_CASE("an accepted push stays until its update is made, whatever its worker sends in the meantime") {
  Script script;
  const PushId accepted = script.stage(0, 1, 4, {1, 1, 1});
  script.staged.accept(accepted);
  script.stage(0, 2, 3, {2, 2, 2});
  script.stage(0, 3, 5, {3, 3, 3});
  CHECK(script.staged.has(accepted));
  script.staged.make({1, {accepted}, 1}, script.store, nullptr);
  CHECK(script.parameters() == Floats{-1, -1, -1});
}

TEST_CASE("the number of pushes per worker is limited, and accepted ones are kept first") {
  Script script;
  const PushId first = script.stage(0, 1, 4, {1, 1, 1}), second = script.stage(0, 2, 4, {2, 2, 2});
  const PushId others = script.stage(1, 1, 4, {1, 1, 1});
  script.staged.accept(second);
  const PushId third = script.stage(0, 3, 4, {3, 3, 3});
  CHECK_FALSE(script.staged.has(first));
  CHECK(script.staged.has_all({1, {second, third, others}, 1}));
  script.staged.accept(third);
  CHECK_FALSE(script.staged.has(script.stage(0, 4, 4, {4, 4, 4})));
  CHECK(script.staged.has_all({1, {second, third, others}, 1}));
}

}  // namespace distmnist
