// Transpositions in blocks of kLanes x kLanes.

inline void transpose_block(const Transposition& t, std::int64_t row, std::int64_t column) {
  Vec lines[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) lines[i] = load(t.from + (row + i) * t.from_row + column);
  transpose_lines(lines);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(t.to + (column + i) * t.to_row + row, lines[i]);
}

// Where the blocks do not divide a side evenly, the last one overlaps the one before.
void transpose(const Transposition& t) {
  if (t.rows < kLanes || t.columns < kLanes) {
    for (std::int64_t row = 0; row < t.rows; ++row) {
      for (std::int64_t column = 0; column < t.columns; ++column) {
        t.to[column * t.to_row + row] = t.from[row * t.from_row + column];
      }
    }
    return;
  }
  for (std::int64_t row = 0; row < t.rows; row += kLanes) {
    for (std::int64_t column = 0; column < t.columns; column += kLanes) {
      transpose_block(t, row + kLanes <= t.rows ? row : t.rows - kLanes,
                      column + kLanes <= t.columns ? column : t.columns - kLanes);
    }
  }
}
