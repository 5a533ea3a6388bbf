// Products of packed factors, in blocks of 2 x 2 tiles: the sums are in tiles 0 to 3, in row order, the left factor in
// 4 and 5, and the right one in 6 and 7.

inline void zero_block(Tiles& tiles) {
  tiles.zero<0>();
  tiles.zero<1>();
  tiles.zero<2>();
  tiles.zero<3>();
}

inline void load_block(Tiles& tiles, const float* from, std::ptrdiff_t from_row) {
  const std::ptrdiff_t row_bytes = from_row * static_cast<std::ptrdiff_t>(sizeof(float));
  tiles.load<0>(from, row_bytes);
  tiles.load<1>(from + kTileRows, row_bytes);
  tiles.load<2>(from + kTileRows * from_row, row_bytes);
  tiles.load<3>(from + kTileRows * from_row + kTileRows, row_bytes);
}

inline void store_block(Tiles& tiles, float* to, std::ptrdiff_t to_row) {
  const std::ptrdiff_t row_bytes = to_row * static_cast<std::ptrdiff_t>(sizeof(float));
  tiles.store<0>(to, row_bytes);
  tiles.store<1>(to + kTileRows, row_bytes);
  tiles.store<2>(to + kTileRows * to_row, row_bytes);
  tiles.store<3>(to + kTileRows * to_row + kTileRows, row_bytes);
}

// Two tiles of a left factor, one below the other, and two of a right factor, side by side.
struct LeftTiles {
  const Bf16* upper;
  const Bf16* lower;
  std::ptrdiff_t row_bytes;  // between the rows of a tile
};
struct RightTiles {
  const Bf16* left;
  const Bf16* right;
};

inline void multiply_block(Tiles& tiles, const LeftTiles& a, const RightTiles& b) {
  tiles.load<4>(a.upper, a.row_bytes);
  tiles.load<6>(b.left, kTileBytes);
  tiles.load<7>(b.right, kTileBytes);
  tiles.multiply<0, 4, 6>();
  tiles.multiply<1, 4, 7>();
  tiles.load<5>(a.lower, a.row_bytes);
  tiles.multiply<2, 5, 6>();
  tiles.multiply<3, 5, 7>();
}

// Bound: the products, if a strip's tiles come from the L1 cache. The left factor, which may be all weights of a layer,
// comes from memory: 2 KiB for 4 columns of products of 64 cycles at a batch size of 128. With two planes, three
// products take 192 cycles and twice the memory.
void tile_product(const TileProduct& p) {
  Tiles tiles;
  const std::int64_t strip_size = p.depth / kTileDepth * p.planes;  // tiles
  for (std::int64_t row = 0; row < p.rows; row += kBlockSide) {
    const Bf16* const left = p.left + row / kTileRows * strip_size * kTileSize;
    for (std::int64_t column = 0; column < p.columns; column += p.block_columns) {
      const std::int64_t columns = p.columns - column < p.block_columns ? p.columns - column : p.block_columns;
      for (std::int64_t j = 0; j < columns; j += kBlockSide) {
        const Bf16* const right = p.right + (column + j) / kTileRows * strip_size * kTileSize;
        zero_block(tiles);
        const auto multiply = [&](std::int64_t of_left, std::int64_t of_right) {
          const Bf16* const left_tile = left + of_left * kTileSize;
          const Bf16* const right_tile = right + of_right * kTileSize;
          multiply_block(tiles, {left_tile, left_tile + strip_size * kTileSize, kTileBytes},
                         {right_tile, right_tile + strip_size * kTileSize});
        };
        for (std::int64_t k = 0; k < strip_size; k += p.planes) {
          multiply(k, k);
          if (p.planes == kRounded) continue;
          multiply(k, k + 1);
          multiply(k + 1, k);
        }
        store_block(tiles, p.block + j, p.block_columns);
      }
      p.done.call(p.done.context, row, column, columns);
    }
  }
}
