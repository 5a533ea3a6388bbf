// Packs floats as factors, tile by tile.

// A matrix of floats; its rows are `row` floats apart.
struct FloatMatrix {
  const float* data;
  std::ptrdiff_t row;
  std::int64_t rows, columns;
};

// Packs one tile. A left factor's tile has the matrix's rows, and a right factor's tile has pairs of them interleaved,
// or, if the matrix is transposed, the other way round. The two differ by a transposition of the 16 x 16 pairs. Rows
// from `rows` on are zero.
template <bool kInterleaved, bool kTransposed, int kPlane>
inline void pack_tile(const float* from, std::ptrdiff_t row, std::int64_t rows, Bf16* to) {
  PairVec lines[kTileRows];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
    const int first = kInterleaved ? 2 * i : i;
    const float* const at = from + first * row;
    const Vec left = first < rows ? load(at) : Vec{};
    const Vec right = kInterleaved   ? (first + 1 < rows ? load(at + row) : Vec{})
                      : first < rows ? load(at + kLanes)
                                     : Vec{};
    const HalfVec halves = halves_of<kPlane>(left, right);
    lines[i] = reinterpret_cast<PairVec>(kInterleaved ? paired(halves) : halves);
  }
  if constexpr (kTransposed) transpose_lines(lines);
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) store(to + i * kTileDepth, lines[i]);
}

template <bool kInterleaved, bool kTransposed>
inline void pack_tiles(const FloatMatrix& matrix, int planes, Bf16* to) {
  // Two versions, so that the one for whole tiles has no conditions.
  constexpr std::int64_t kAll = kInterleaved ? kTileDepth : kTileRows;
  if (matrix.rows >= kAll) {
    pack_tile<kInterleaved, kTransposed, 0>(matrix.data, matrix.row, kAll, to);
    if (planes == kNearlyFloat) pack_tile<kInterleaved, kTransposed, 1>(matrix.data, matrix.row, kAll, to + kTileSize);
  } else {
    pack_tile<kInterleaved, kTransposed, 0>(matrix.data, matrix.row, matrix.rows, to);
    if (planes == kNearlyFloat) {
      pack_tile<kInterleaved, kTransposed, 1>(matrix.data, matrix.row, matrix.rows, to + kTileSize);
    }
  }
}

// The part of the matrix that the tile covers at its corner, with zeros to the right of the matrix.
template <bool kInterleaved, bool kTransposed>
inline void pack_edge(const FloatMatrix& matrix, int planes, Bf16* to) {
  constexpr std::int64_t kRows = kInterleaved ? kTileDepth : kTileRows, kColumns = kTileRows + kTileDepth - kRows;
  float block[kRows][kColumns] = {};
  for (std::int64_t r = 0; r < matrix.rows && r < kRows; ++r) {
    for (std::int64_t c = 0; c < matrix.columns && c < kColumns; ++c) block[r][c] = matrix.data[r * matrix.row + c];
  }
  pack_tiles<kInterleaved, kTransposed>({block[0], kColumns, kRows, kColumns}, planes, to);
}

// Strip by strip, along the depth.
template <bool kInterleaved, bool kTransposed>
inline void pack_strips(const Packing& p) {
  const std::int64_t across = kInterleaved ? p.columns : p.rows, depth = kInterleaved ? p.rows : p.columns;
  for (std::int64_t strip = 0; strip < in_blocks(across) * kBlockSide; strip += kTileRows) {
    for (std::int64_t at = 0; at < depth; at += kTileDepth) {
      const std::int64_t row = kInterleaved ? at : strip, column = kInterleaved ? strip : at;
      const FloatMatrix corner{p.from + row * p.from_row + column, p.from_row, p.rows - row, p.columns - column};
      Bf16* const to = p.to + (strip / kTileRows * p.strip_size + at / kTileDepth * p.planes) * kTileSize;
      if (corner.columns >= (kInterleaved ? kTileRows : kTileDepth)) {
        pack_tiles<kInterleaved, kTransposed>(corner, p.planes, to);
      } else {
        pack_edge<kInterleaved, kTransposed>(corner, p.planes, to);
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

// `count` numbers of one row of a tile and its planes, from number `first` of the piece on.
template <int kPlanes>
inline void put_numbers(const PiecePacking& p, std::int64_t first, std::int64_t count, Bf16* to) {
  if (count == kTileDepth && p.floats != nullptr) {
    const Vec left = load(p.floats + first), right = load(p.floats + first + kLanes);
    store(to, halves_of<0>(left, right));
    if constexpr (kPlanes == kNearlyFloat) store(to + kTileSize, halves_of<1>(left, right));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const Vec number = splat(p.floats != nullptr ? p.floats[first + i] : 0.0f);
    to[i] = p.floats != nullptr ? halves_of<0>(number, number)[0] : p.halves[first + i];
    if constexpr (kPlanes == kNearlyFloat) to[kTileSize + i] = halves_of<1>(number, number)[0];
  }
}

template <int kPlanes>
inline void pack_numbers(const PiecePacking& p) {
  for (std::int64_t i = 0; i < p.count;) {
    const std::int64_t row = (p.first + i) / p.columns, column = (p.first + i) % p.columns;
    Bf16* const strip = p.to + row / kTileRows * p.strip_size * kTileSize + row % kTileRows * kTileDepth;
    const std::int64_t end = p.columns - column < p.count - i ? p.columns : column + p.count - i;
    for (std::int64_t at = column; at < end;) {
      const std::int64_t rest = kTileDepth - at % kTileDepth, count = end - at < rest ? end - at : rest;
      Bf16* const to = strip + at / kTileDepth * kPlanes * kTileSize + at % kTileDepth;
      if (count == kTileDepth && p.halves != nullptr) {
        store(to, load_halves(p.halves + i));
        if constexpr (kPlanes == kNearlyFloat) store(to + kTileSize, HalfVec{});
      } else {
        put_numbers<kPlanes>(p, i, count, to);
      }
      at += count;
      i += count;
    }
  }
}

// Limit: reading the numbers once.
void pack_piece(const PiecePacking& p) {
  p.planes == kRounded ? pack_numbers<kRounded>(p) : pack_numbers<kNearlyFloat>(p);
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
