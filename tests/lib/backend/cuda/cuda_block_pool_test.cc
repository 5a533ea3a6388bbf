#include "lib/backend/cuda/block_pool.h"

#include <algorithm>
#include <vector>

#include "lib/base/random.h"
#include "tests/support/catch.h"

using namespace distmnist;
using cuda::BlockPool;
using cuda::kPieceAlignment;
using cuda::Piece;

namespace {

bool overlap(const Piece& a, const Piece& b) {
  return a.block == b.block && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

}  // namespace

TEST_CASE("pieces are aligned, large enough and do not overlap") {
  BlockPool pool;
  pool.add_block(10'000);
  pool.add_block(4096);
  std::vector<Piece> pieces;
  for (const std::uint64_t size : {1, 256, 257, 4000, 3000}) {
    const auto piece = pool.take(size);
    REQUIRE(piece);
    CHECK(piece->offset % kPieceAlignment == 0);
    CHECK(piece->size >= size);
    CHECK(piece->offset + piece->size <= (piece->block == 0 ? 10'000 : 4096));
    for (const Piece& other : pieces) CHECK(!overlap(*piece, other));
    pieces.push_back(*piece);
  }
}

TEST_CASE("the smallest piece that fits is used") {
  BlockPool pool;
  pool.add_block(8192);
  pool.add_block(1024);
  CHECK(pool.take(1000)->block == 1);
  CHECK(pool.take(1000)->block == 0);
}

TEST_CASE("a size that does not fit is refused, even close to the largest number") {
  BlockPool pool;
  CHECK(!pool.take(1));
  pool.add_block(4096);
  CHECK(!pool.take(4097));
  CHECK(!pool.take(~std::uint64_t{0}));
  CHECK(pool.take(4096));
  CHECK(!pool.take(1));
}

TEST_CASE("returned pieces are merged in any order") {
  const std::vector<int> order = GENERATE(std::vector<int>{0, 1, 2, 3}, std::vector<int>{3, 2, 1, 0},
                                          std::vector<int>{1, 3, 0, 2}, std::vector<int>{2, 0, 3, 1});
  BlockPool pool;
  pool.add_block(4096);
  std::vector<Piece> pieces;
  for (int i = 0; i < 4; ++i) pieces.push_back(*pool.take(1024));
  CHECK(pool.used_bytes() == 4096);
  for (const int i : order) pool.give_back(pieces[static_cast<std::size_t>(i)]);
  CHECK(pool.used_bytes() == 0);
  CHECK(pool.largest_free_bytes() == 4096);
}

TEST_CASE("after any sequence no memory is lost or assigned twice") {
  Random random(5, 1);
  BlockPool pool;
  pool.add_block(1 << 20);
  pool.add_block(1 << 18);
  std::vector<Piece> held;
  for (int i = 0; i < 20'000; ++i) {
    if (!held.empty() && random.below(2) == 0) {
      const auto which = static_cast<std::ptrdiff_t>(random.below(held.size()));
      pool.give_back(held[static_cast<std::size_t>(which)]);
      held.erase(held.begin() + which);
    } else if (const auto piece = pool.take(1 + random.below(20'000))) {
      REQUIRE(std::ranges::none_of(held, [&](const Piece& other) { return overlap(*piece, other); }));
      held.push_back(*piece);
    }
  }
  for (const Piece& piece : held) pool.give_back(piece);
  CHECK(pool.used_bytes() == 0);
  CHECK(pool.largest_free_bytes() == 1 << 20);
}
