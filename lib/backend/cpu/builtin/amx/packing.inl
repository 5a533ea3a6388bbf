// Packs floats as factors, tile by tile.

// A matrix of floats; its rows are `row` floats apart.
struct FloatMatrix {
  const float* data;
  std::ptrdiff_t row;
  std::int64_t rows, columns;
};

// Packs one tile. A left factor's tile has the matrix's rows, and a right factor's tile has pairs of them interleaved,
// or, if the matrix is transposed, the other way round. The two differ by a transposition of the 16 x 16 pairs.
template <bool kInterleaved, bool kTransposed, int kPlane>
inline void pack_tile(const float* from, std::ptrdiff_t row, Bf16* to) {
  PairVec lines[kTileRows];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
    const float* const first = from + (kInterleaved ? 2 * i : i) * row;
    const float* const second = kInterleaved ? first + row : first + kLanes;
    const HalfVec halves = halves_of<kPlane>(load(first), load(second));
    lines[i] = reinterpret_cast<PairVec>(kInterleaved ? paired(halves) : halves);
  }
  if constexpr (kTransposed) transpose(lines);
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) store(to + i * kTileDepth, lines[i]);
}

template <bool kInterleaved, bool kTransposed>
inline void pack_tiles(const float* from, std::ptrdiff_t row, int planes, Bf16* to) {
  pack_tile<kInterleaved, kTransposed, 0>(from, row, to);
  if (planes == kNearlyFloat) pack_tile<kInterleaved, kTransposed, 1>(from, row, to + kTileSize);
}

// The part of the matrix that the tile covers at its corner, with zeros outside the matrix.
template <bool kInterleaved, bool kTransposed>
inline void pack_edge(const FloatMatrix& matrix, int planes, Bf16* to) {
  constexpr std::int64_t kRows = kInterleaved ? kTileDepth : kTileRows, kColumns = kTileRows + kTileDepth - kRows;
  float block[kRows][kColumns] = {};
  const std::int64_t columns = matrix.columns < kColumns ? matrix.columns : kColumns;
  for (std::int64_t r = 0; r < matrix.rows && r < kRows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) block[r][c] = matrix.data[r * matrix.row + c];
  }
  pack_tiles<kInterleaved, kTransposed>(block[0], kColumns, planes, to);
}

// Strip by strip, along the depth.
template <bool kInterleaved, bool kTransposed>
inline void pack_strips(const Packing& p) {
  const std::int64_t across = kInterleaved ? p.columns : p.rows, depth = kInterleaved ? p.rows : p.columns;
  for (std::int64_t strip = 0; strip < across; strip += kTileRows) {
    for (std::int64_t at = 0; at < depth; at += kTileDepth) {
      const std::int64_t row = kInterleaved ? at : strip, column = kInterleaved ? strip : at;
      const float* const from = p.from + row * p.from_row + column;
      Bf16* const to = p.to + (strip / kTileRows * p.strip_size + at / kTileDepth * p.planes) * kTileSize;
      if (strip + kTileRows <= across && at + kTileDepth <= depth) {
        pack_tiles<kInterleaved, kTransposed>(from, p.from_row, p.planes, to);
      } else {
        pack_edge<kInterleaved, kTransposed>({from, p.from_row, p.rows - row, p.columns - column}, p.planes, to);
      }
    }
  }
}

void pack(const Packing& p) {
  if (p.factor == Factor::kLeft) {
    p.transposed ? pack_strips<true, true>(p) : pack_strips<false, false>(p);
  } else {
    p.transposed ? pack_strips<false, true>(p) : pack_strips<true, false>(p);
  }
}

// Limit: reading the factor once, from memory if it is large.
void repack(const Repacking& p) {
  const std::int64_t right_strip = p.rows / kTileDepth * p.planes * kTileSize;
  for (std::int64_t row = 0; row < p.rows; row += kTileDepth) {
    const Bf16* upper = p.left + row / kTileRows * p.strip_size * kTileSize;
    Bf16* first = p.right + row / kTileDepth * p.planes * kTileSize;
    for (int plane = 0; plane < p.planes; ++plane, upper += kTileSize, first += kTileSize) {
#pragma GCC unroll 16
      for (int pair = 0; pair < kTileRows; ++pair) {
        const Bf16* const tile = pair < kTileRows / 2 ? upper : upper + p.strip_size * kTileSize;
        const Bf16* const even = tile + pair % (kTileRows / 2) * 2 * kTileDepth;
        const HalfVec first_row = load_halves(even), second_row = load_halves(even + kTileDepth);
        // The next column, which the caller wants next; otherwise each row would be a miss.
        __builtin_prefetch(even + p.planes * kTileSize);
        __builtin_prefetch(even + p.planes * kTileSize + kTileDepth);
        store(first + pair * kTileDepth, interleaved_low(first_row, second_row));
        store(first + right_strip + pair * kTileDepth, interleaved_high(first_row, second_row));
      }
    }
  }
}
