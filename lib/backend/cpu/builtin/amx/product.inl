// Products of packed factors, in blocks of 2 x 2 tiles: the sums are in tiles 0 to 3, in row order, the left factor in
// 4 and 5, and the right one in 6 and 7.

// Calls work(number) for 0 .. kCount - 1, with each number as a constant.
template <int kCount, int kFirst = 0, typename Work>
inline __attribute__((always_inline)) void each(const Work& work) {
  if constexpr (kFirst < kCount) {
    work(std::integral_constant<int, kFirst>{});
    each<kCount, kFirst + 1>(work);
  }
}

// One block; its rows in `to` are to_row floats apart.
template <int kPlanes>
inline void multiply_block(Tiles& tiles, const Bf16* left, const Bf16* right, std::int64_t strip_size, float* to,
                           std::int64_t to_row) {
  each<4>([&](auto block) { tiles.zero<block>(); });
  const std::int64_t next = strip_size * kTileSize;  // strip
  for (std::int64_t k = 0; k < strip_size; k += kPlanes) {
    const Bf16* const left_tile = left + k * kTileSize;
    const Bf16* const right_tile = right + k * kTileSize;
    const auto multiply_left = [&](std::int64_t plane) {
      tiles.load<4>(left_tile + plane * kTileSize, kTileBytes);
      tiles.multiply<0, 4, 6>();
      tiles.multiply<1, 4, 7>();
      tiles.load<5>(left_tile + next + plane * kTileSize, kTileBytes);
      tiles.multiply<2, 5, 6>();
      tiles.multiply<3, 5, 7>();
    };
    tiles.load<6>(right_tile, kTileBytes);
    tiles.load<7>(right_tile + next, kTileBytes);
    multiply_left(0);
    if constexpr (kPlanes == kNearlyFloat) {
      multiply_left(1);
      tiles.load<6>(right_tile + kTileSize, kTileBytes);
      tiles.load<7>(right_tile + next + kTileSize, kTileBytes);
      multiply_left(0);
    }
  }
  each<4>([&](auto block) {
    tiles.store<block>(to + block / 2 * kTileRows * to_row + block % 2 * kTileRows,
                       to_row * static_cast<std::ptrdiff_t>(sizeof(float)));
  });
}

template <int kPlanes>
inline void multiply(const TileProduct& p) {
  Tiles tiles;
  const std::int64_t strip_size = p.depth / kTileDepth * kPlanes;  // tiles
  const auto strip = [&](std::int64_t at) { return at / kTileRows * strip_size * kTileSize; };
  for (std::int64_t row = 0; row < p.rows; row += kBlockSide) {
    for (std::int64_t column = 0; column < p.columns; column += kBlockSide) {
      multiply_block<kPlanes>(tiles, p.left + strip(row), p.right + strip(column), strip_size,
                              p.to + row * p.to_row + column, p.to_row);
    }
  }
}

// Limit: the products, 64 cycles for four loads of 9 (from the L1 cache) to 24 cycles (from the L2 cache). Blocks of
// one left strip and four right ones, which read a large left factor only once, are as fast. With two planes, three
// products take the place of one.
void tile_product(const TileProduct& p) {
  p.planes == kRounded ? multiply<kRounded>(p) : multiply<kNearlyFloat>(p);
}
