// Packs floats as factors, in blocks of 32 x 32.

inline Bf16 rounded(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  // NaN stays NaN: rounding up could turn it into an infinity or zero.
  return static_cast<Bf16>(x == x ? nearest : (bits >> 16) | 0x40);
}

inline float as_float(Bf16 number) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(number) << 16);
}

// The rounding error, itself rounded.
inline Bf16 remainder(float x) {
  return rounded(x - as_float(rounded(x)));
}

using Block = Bf16[kBlockSide][kBlockSide];

// A matrix of floats; its rows are `row` floats apart.
struct FloatMatrix {
  const float* data;
  std::ptrdiff_t row;
  std::int64_t rows, columns;
};

// Takes the block at the matrix's corner, with zeros outside the matrix.
template <Bf16 (*kHalf)(float)>
inline void take_block(const FloatMatrix& matrix, Block& block) {
  const float* const from = matrix.data;
  const std::ptrdiff_t from_row = matrix.row;
  const std::int64_t rows = matrix.rows, columns = matrix.columns;
  if (rows >= kBlockSide && columns >= kBlockSide) {
    for (std::int64_t r = 0; r < kBlockSide; ++r) {
      for (std::int64_t c = 0; c < kBlockSide; ++c) block[r][c] = kHalf(from[r * from_row + c]);
    }
    return;
  }
  __builtin_memset(block, 0, sizeof block);
  for (std::int64_t r = 0; r < rows && r < kBlockSide; ++r) {
    for (std::int64_t c = 0; c < columns && c < kBlockSide; ++c) block[r][c] = kHalf(from[r * from_row + c]);
  }
}

inline void transpose_block(const Block& from, Block& to) {
  for (std::int64_t r = 0; r < kBlockSide; ++r) {
    for (std::int64_t c = 0; c < kBlockSide; ++c) to[c][r] = from[r][c];
  }
}

// Interleaves the rows `even` and `odd`, 32 numbers each: the first 16 pairs go to the tile of one strip, the others to
// that of the next.
inline void interleave(const Bf16* even, const Bf16* odd, Bf16* first, Bf16* second) {
  for (std::int64_t c = 0; c < kTileRows; ++c) {
    first[2 * c] = even[c];
    first[2 * c + 1] = odd[c];
    second[2 * c] = even[kTileRows + c];
    second[2 * c + 1] = odd[kTileRows + c];
  }
}

// Stores `block` in the factor's order, [m, k] or [k, n]. The block is two tiles in adjacent strips.
inline void put_block(Factor factor, const Block& block, Bf16* first, Bf16* second) {
  if (factor == Factor::kLeft) {
    __builtin_memcpy(first, block[0], kTileSize * sizeof(Bf16));
    __builtin_memcpy(second, block[kTileRows], kTileSize * sizeof(Bf16));
    return;
  }
  for (std::int64_t pair = 0; pair < kTileRows; ++pair) {
    interleave(block[2 * pair], block[2 * pair + 1], first + pair * kTileDepth, second + pair * kTileDepth);
  }
}

void pack(const Packing& p) {
  Block block, transposed;
  // Whether strips divide the rows of the matrix; otherwise the rows are the depth.
  const bool strips_of_rows = (p.factor == Factor::kLeft) != p.transposed;
  for (std::int64_t row = 0; row < p.rows; row += kBlockSide) {
    for (std::int64_t column = 0; column < p.columns; column += kBlockSide) {
      const std::int64_t strip = (strips_of_rows ? row : column) / kTileRows;
      const std::int64_t depth = (strips_of_rows ? column : row) / kTileDepth;
      for (int plane = 0; plane < p.planes; ++plane) {
        const auto take = plane == 0 ? take_block<rounded> : take_block<remainder>;
        take({p.from + row * p.from_row + column, p.from_row, p.rows - row, p.columns - column}, block);
        if (p.transposed) transpose_block(block, transposed);
        Bf16* const first = p.to + (strip * p.strip_size + depth * p.planes + plane) * kTileSize;
        put_block(p.factor, p.transposed ? transposed : block, first, first + p.strip_size * kTileSize);
      }
    }
  }
}

void repack(const Repacking& p) {
  const std::int64_t right_strip = p.rows / kTileDepth * p.planes * kTileSize;
  for (std::int64_t row = 0; row < p.rows; row += 2) {
    const Bf16* even = p.left + row / kTileRows * p.strip_size * kTileSize + row % kTileRows * kTileDepth;
    Bf16* first = p.right + row / kTileDepth * p.planes * kTileSize + row % kTileDepth / 2 * kTileDepth;
    for (int plane = 0; plane < p.planes; ++plane, even += kTileSize, first += kTileSize) {
      interleave(even, even + kTileDepth, first, first + right_strip);
    }
  }
}
