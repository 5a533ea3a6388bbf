// Products of packed factors, in blocks of four tiles, whose sums are in tiles 0 to 3.

// Calls work(number) for 0 .. kCount - 1, with each number as a constant.
template <int kCount, int kFirst = 0, typename Work>
inline __attribute__((always_inline)) void each(const Work& work) {
  if constexpr (kFirst < kCount) {
    work(std::integral_constant<int, kFirst>{});
    each<kCount, kFirst + 1>(work);
  }
}

// A block of one left strip, whose planes are in tiles 4 and 5, and kStrips right strips from `right` on. Stored to
// rows that are to_row floats apart.
template <int kStrips, int kPlanes>
inline void multiply_strips(Tiles& tiles, const Bf16* left, const Bf16* right, std::int64_t strip_size, float* to,
                            std::int64_t to_row) {
  each<kStrips>([&](auto strip) { tiles.zero<strip>(); });
  for (std::int64_t k = 0; k < strip_size; k += kPlanes) {
    const Bf16* const left_tile = left + k * kTileSize;
    const Bf16* const right_tile = right + k * kTileSize;
    tiles.load<4>(left_tile, kTileBytes);
    if constexpr (kPlanes == kNearlyFloat) tiles.load<5>(left_tile + kTileSize, kTileBytes);
    each<kStrips>([&](auto strip) {
      const Bf16* const tile = right_tile + strip * strip_size * kTileSize;
      tiles.load<6>(tile, kTileBytes);
      tiles.multiply<strip, 4, 6>();
      if constexpr (kPlanes == kNearlyFloat) {
        tiles.multiply<strip, 5, 6>();
        tiles.load<6>(tile + kTileSize, kTileBytes);
        tiles.multiply<strip, 4, 6>();
      }
    });
  }
  each<kStrips>([&](auto strip) {
    tiles.store<strip>(to + strip * kTileRows, to_row * static_cast<std::ptrdiff_t>(sizeof(float)));
  });
}

// A block of two left strips and two right strips, whose tiles are in 6 and 7.
template <int kPlanes>
inline void multiply_square(Tiles& tiles, const Bf16* left, const Bf16* right, std::int64_t strip_size, float* to,
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
  if (p.columns == kBlockSide) {
    for (std::int64_t row = 0; row < p.rows; row += kBlockSide) {
      multiply_square<kPlanes>(tiles, p.left + row / kTileRows * strip_size * kTileSize, p.right, strip_size, p.block,
                               p.block_columns);
      p.done.call(p.done.context, {row, kBlockSide, 0, kBlockSide});
    }
    return;
  }
  for (std::int64_t row = 0; row < p.rows; row += kTileRows) {
    const Bf16* const left = p.left + row / kTileRows * strip_size * kTileSize;
    for (std::int64_t column = 0; column < p.columns; column += p.block_columns) {
      const std::int64_t columns = p.columns - column < p.block_columns ? p.columns - column : p.block_columns;
      std::int64_t at = 0;
      const auto right = [&] { return p.right + (column + at) / kTileRows * strip_size * kTileSize; };
      for (; at + 4 * kTileRows <= columns; at += 4 * kTileRows) {
        multiply_strips<4, kPlanes>(tiles, left, right(), strip_size, p.block + at, p.block_columns);
      }
      if (at < columns) multiply_strips<2, kPlanes>(tiles, left, right(), strip_size, p.block + at, p.block_columns);
      p.done.call(p.done.context, {row, kTileRows, column, columns});
    }
  }
}

// Limit: the products, if the right factor comes from the L1 cache: 64 cycles for five loads. The left factor, which
// may be all weights of a layer, is read once, in order. With two planes, three products take the time of one.
void tile_product(const TileProduct& p) {
  p.planes == kRounded ? multiply<kRounded>(p) : multiply<kNearlyFloat>(p);
}
