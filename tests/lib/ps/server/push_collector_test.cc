#include "lib/ps/server/push_collector.h"

#include <cmath>
#include <limits>

#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
const ChunkTable kChunks({{0, 2}, {2, 1}, {10, 1}});

using Floats = std::vector<float>;

// Passes chunks of pushes to a collector. A worker's process is identified by its incarnation.
class Script {
 public:
  bool add(std::uint64_t incarnation, std::uint64_t sequence, std::int64_t offset, const std::vector<float>& gradient,
           const Route& route = "a") {
    trace::Peer peer;
    peer.incarnation = incarnation;
    peer.sequence = sequence;
    return collector.add(kChunks, route, peer.push(offset, gradient));
  }
  // The gradients of the complete push, chunk after chunk.
  std::vector<float> take() {
    const WholePush push = collector.take();
    std::vector<float> out;
    for (const Frame& frame : push.gradients) out.insert(out.end(), frame.floats().begin(), frame.floats().end());
    return out;
  }

  PushCollector collector;
};

}  // namespace

TEST_CASE("a push is complete with its last chunk, in any order of chunks") {
  Script script;
  CHECK_FALSE(script.add(1, 1, 10, {4}));
  CHECK_FALSE(script.add(1, 1, 0, {1, 2}));
  CHECK(script.add(1, 1, 2, {3}));
  CHECK(script.take() == Floats{1, 2, 3, 4});
}

TEST_CASE("a repeated chunk counts once") {
  Script script;
  CHECK_FALSE(script.add(1, 1, 0, {1, 2}));
  CHECK_FALSE(script.add(1, 1, 0, {1, 2}));
  CHECK_FALSE(script.add(1, 1, 2, {3}));
  CHECK_FALSE(script.add(1, 1, 2, {3}));
  CHECK(script.add(1, 1, 10, {4}));
}

TEST_CASE("a later push starts again and takes nothing from the push before") {
  Script script;
  CHECK_FALSE(script.add(1, 1, 0, {1, 2}));
  CHECK_FALSE(script.add(1, 1, 2, {3}));
  CHECK_FALSE(script.add(1, 2, 10, {8}));
  CHECK_FALSE(script.add(1, 1, 10, {4}));  // the old push can no longer be completed
  CHECK_FALSE(script.add(1, 2, 0, {5, 6}));
  CHECK(script.add(1, 2, 2, {7}));
  CHECK(script.take() == Floats{5, 6, 7, 8});
}

TEST_CASE("a push of a different process starts again, whatever its numbers") {
  for (const std::uint64_t next : {std::uint64_t{1}, kLargest - 1}) {
    Script script;
    CHECK_FALSE(script.add(5, kLargest, 0, {1, 2}));
    CHECK_FALSE(script.add(next, 1, 0, {5, 6}));
    CHECK_FALSE(script.add(next, 1, 2, {7}));
    CHECK(script.add(next, 1, 10, {8}));
    CHECK(script.take() == Floats{5, 6, 7, 8});
  }
}

TEST_CASE("a process with the largest sequence does not prevent other processes from pushing") {
  Script script;
  for (const std::int64_t offset : {0, 2, 10}) {
    script.add(5, kLargest, offset, offset == 0 ? Floats{1, 2} : Floats{3});
  }
  script.take();
  CHECK_FALSE(script.add(6, 1, 0, {5, 6}));
  CHECK_FALSE(script.add(6, 1, 2, {7}));
  CHECK(script.add(6, 1, 10, {8}));
}

TEST_CASE("a push that is repeated after it was taken becomes complete again, because it has to be answered again") {
  Script script;
  for (int time = 0; time < 2; ++time) {
    CHECK_FALSE(script.add(1, 1, 0, {1, 2}));
    CHECK_FALSE(script.add(1, 1, 2, {3}));
    CHECK(script.add(1, 1, 10, {4}));
    CHECK(script.take() == Floats{1, 2, 3, 4});
  }
}

TEST_CASE("the answer is sent to the route of the last chunk") {
  Script script;
  script.add(1, 1, 0, {1, 2}, "old connection");
  script.add(1, 1, 2, {3}, "new connection");
  script.add(1, 1, 10, {4}, "new connection");
  CHECK(script.collector.take().route == "new connection");
}

TEST_CASE("foreign ranges and payloads other than floats are dropped") {
  Script script;
  CHECK_FALSE(script.add(1, 1, 0, {1}));
  CHECK_FALSE(script.add(1, 1, 5, {1, 2}));
  trace::Peer peer;
  peer.incarnation = peer.sequence = 1;
  Message record = peer.push(0, {1, 2});
  record.header.dtype = WireDtype::kRecord;
  CHECK_FALSE(script.collector.add(kChunks, "a", std::move(record)));
  CHECK_FALSE(script.add(1, 1, 2, {3}));
  CHECK_FALSE(script.add(1, 1, 10, {4}));
  CHECK(script.add(1, 1, 0, {1, 2}));
}

TEST_CASE("all numbers of a push have the type of its first chunk") {
  Script script;
  trace::Peer peer;
  peer.incarnation = peer.sequence = 1;
  peer.wire_dtype = WireDtype::kBf16;
  CHECK_FALSE(script.collector.add(kChunks, "a", peer.push(0, {1, 2})));
  CHECK_FALSE(script.collector.add(kChunks, "a", peer.push(2, {3})));
  CHECK_FALSE(script.add(1, 1, 10, {4}));  // float32
  CHECK(script.collector.add(kChunks, "a", peer.push(10, {4})));
  const WholePush push = script.collector.take();
  CHECK(push.header.dtype == WireDtype::kBf16);
  CHECK(push.gradients[0].size() == 4);
}

TEST_CASE("a push to a shard without parameters is one empty chunk") {
  PushCollector collector;
  trace::Peer peer;
  peer.sequence = 1;
  CHECK(collector.add(ChunkTable({}), "a", peer.push(0, {})));
}

TEST_CASE("a push with a number that is not finite is marked from its chunk on, until the next push") {
  Script script;
  CHECK_FALSE(script.add(1, 1, 2, {3}));
  CHECK_FALSE(script.collector.bad());
  CHECK_FALSE(script.add(1, 1, 0, {1, NAN}));
  REQUIRE(script.collector.bad());
  CHECK(script.collector.bad()->at == 1);
  CHECK(script.collector.bad()->text == "nan");
  CHECK_FALSE(script.add(1, 1, 0, {1, 2}));  // a bad push stays bad
  CHECK(script.add(1, 1, 10, {-INFINITY}));
  const WholePush push = script.collector.take();
  CHECK(push.bad->at == 1);
  CHECK_FALSE(script.add(1, 2, 2, {3}));
  CHECK_FALSE(script.collector.bad());
  CHECK_FALSE(script.add(1, 2, 10, {-INFINITY}));
  CHECK(script.collector.bad()->at == 10);
}

}  // namespace distmnist
