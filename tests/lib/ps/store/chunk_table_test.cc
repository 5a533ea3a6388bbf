#include "lib/ps/store/chunk_table.h"

#include "lib/wire/header.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

constexpr std::int64_t kMax = kMaxPayloadFloats;
using Chunks = std::pair<std::size_t, std::size_t>;

}  // namespace

TEST_CASE("pieces are split into chunks that fit in a message, and no chunk crosses a piece") {
  const ChunkTable table({{100, 2 * kMax + 5}, {100 + 2 * kMax + 5, 7}});
  REQUIRE(table.size() == 4);
  CHECK(table.range(0) == Range{100, kMax});
  CHECK(table.range(1) == Range{100 + kMax, kMax});
  CHECK(table.range(2) == Range{100 + 2 * kMax, 5});
  CHECK(table.range(3) == Range{105 + 2 * kMax, 7});
  CHECK(table.num_floats() == 2 * kMax + 12);
}

TEST_CASE("a shard's memory has no gaps for parts of the block that it does not hold") {
  const ChunkTable table({{10, 4}, {50, 2}, {90, 3}});
  CHECK(table.local(0) == Range{0, 4});
  CHECK(table.local(1) == Range{4, 2});
  CHECK(table.local(2) == Range{6, 3});
}

TEST_CASE("a piece of exactly one message is one chunk") {
  CHECK(ChunkTable({{0, kMax}}).size() == 1);
  CHECK(ChunkTable({{0, kMax + 1}}).size() == 2);
}

TEST_CASE("a shard without pieces has one empty chunk") {
  const ChunkTable table({});
  REQUIRE(table.size() == 1);
  CHECK(table.range(0) == Range{0, 0});
  CHECK(table.num_floats() == 0);
  CHECK(table.find({0, 0}) == 0u);
  CHECK(table.within({0, 1000}) == Chunks{0, 0});
}

TEST_CASE("only the exact range of a chunk is found") {
  const ChunkTable table({{10, 4}, {50, 2}});
  CHECK(table.find({10, 4}) == 0u);
  CHECK(table.find({50, 2}) == 1u);
  for (const Range foreign : {Range{10, 3}, Range{10, 5}, Range{11, 3}, Range{9, 4}, Range{50, 1}, Range{52, 2},
                              Range{0, 0}, Range{10, 0}, Range{std::int64_t{1} << 48, 4}}) {
    CAPTURE(foreign.offset, foreign.size);
    CHECK_FALSE(table.find(foreign).has_value());
  }
}

TEST_CASE("a range of the block returns the chunks that are completely inside it") {
  const ChunkTable table({{10, 4}, {14, 2}, {50, 2}});
  CHECK(table.within({0, 100}) == Chunks{0, 3});
  CHECK(table.within({10, 4}) == Chunks{0, 1});
  CHECK(table.within({10, 6}) == Chunks{0, 2});
  CHECK(table.within({14, 36}) == Chunks{1, 2});  // the next chunk begins at 50
  CHECK(table.within({50, 2}) == Chunks{2, 3});
  for (const Range none : {Range{0, 10}, Range{10, 3}, Range{11, 3}, Range{16, 34}, Range{52, 8}}) {
    const auto [first, last] = table.within(none);
    CAPTURE(none.offset, none.size);
    CHECK(first == last);
  }
}

}  // namespace distmnist
