#include "lib/ps/server/published_parameters.h"

#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

// A shard of two chunks, [1 2] and [3], with SGD of rate 1.
struct Shard {
  Shard() : store({{0, 2}, {2, 1}}, {.kind = OptimizerKind::kSgd, .learning_rate = 1}, 0) {
    store.values(0, 0)[0] = 1;
    store.values(0, 0)[1] = 2;
    store.values(0, 1)[0] = 3;
  }
  // Updates with a gradient of ones.
  void update() {
    Floats gradient = {1, 1}, updated(2);
    store.begin_update();
    for (const std::size_t chunk : {0, 1}) {
      const std::size_t size = store.values(0, chunk).size();
      store.apply(chunk, std::span(gradient).first(size), std::span(updated).first(size));
    }
  }
  Floats published(WireDtype dtype, std::size_t chunk) {
    return trace::floats_of(dtype, parameters.chunk(store, dtype, chunk).bytes());
  }

  VariableStore store;
  PublishedParameters parameters;
};

}  // namespace

TEST_CASE("all requests at one commit share a copy for each number type") {
  Shard shard;
  const Frame first = shard.parameters.chunk(shard.store, WireDtype::kF32, 0);
  CHECK(shard.parameters.chunk(shard.store, WireDtype::kF32, 0).bytes().data() == first.bytes().data());
  CHECK(shard.parameters.chunk(shard.store, WireDtype::kBf16, 0).bytes().data() != first.bytes().data());
  CHECK(shard.published(WireDtype::kF32, 0) == Floats{1, 2});
  CHECK(shard.published(WireDtype::kBf16, 0) == Floats{1, 2});
  CHECK(shard.published(WireDtype::kF16, 1) == Floats{3});
}

TEST_CASE("a copy keeps its commit's values while the parameters change") {
  Shard shard;
  const Frame before = shard.parameters.chunk(shard.store, WireDtype::kF32, 0);
  shard.update();
  CHECK(before.floats()[0] == 1);
  CHECK(shard.published(WireDtype::kF32, 0) == Floats{0, 1});
  CHECK(shard.published(WireDtype::kF32, 1) == Floats{2});
}

TEST_CASE("parameters that an update has already written as its answer are not copied") {
  Shard shard;
  shard.update();
  std::vector<Frame> chunks;
  chunks.push_back(trace::frame_of(Floats{0, 1}, WireDtype::kBf16));
  chunks.push_back(trace::frame_of(Floats{2}, WireDtype::kBf16));
  const std::byte* const memory = chunks[0].bytes().data();
  shard.parameters.adopt(shard.store, WireDtype::kBf16, std::move(chunks));
  CHECK(shard.parameters.chunk(shard.store, WireDtype::kBf16, 0).bytes().data() == memory);
  CHECK(shard.published(WireDtype::kF32, 0) == Floats{0, 1});  // a different type is copied
  shard.update();
  CHECK(shard.published(WireDtype::kBf16, 1) == Floats{1});
}

TEST_CASE("after forget a new copy is made, and messages in transit keep their memory") {
  Shard shard;
  const Frame under_way = shard.parameters.chunk(shard.store, WireDtype::kF32, 1);
  shard.parameters.forget();
  CHECK(under_way.floats()[0] == 3);
  CHECK(shard.parameters.chunk(shard.store, WireDtype::kF32, 1).bytes().data() != under_way.bytes().data());
}

}  // namespace distmnist
