// Matrix products. Blocks of the result stay in registers: kBlockRows x 2 vectors when summing rows of b, and kDotRows
// x kDotColumns when multiplying rows with rows.

constexpr int kBlockRows = kRegisters >= 32 ? 12 : 6;
constexpr int kDotRows = kRegisters >= 32 ? 6 : 4;
constexpr int kDotColumns = kRegisters >= 32 ? 4 : 3;
constexpr std::int64_t kPanel = 2 * kLanes;  // columns per block
static_assert(kProductRows % kBlockRows == 0);

// One block: c[kRows, kPanel] = or += a b. Bound: kRows * 2 multiply-adds in kRows cycles (two per cycle), with kRows +
// 2 operand loads.
template <int kRows, bool kAdd>
inline void block(std::int64_t depth, const float* a, std::ptrdiff_t a_row, std::ptrdiff_t a_column, const float* b,
                  std::ptrdiff_t b_row, float* c, std::ptrdiff_t c_row) {
  Vec sums[kRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = kAdd ? load(c + r * c_row) : Vec{};
    sums[r][1] = kAdd ? load(c + r * c_row + kLanes) : Vec{};
  }
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < depth; ++k) {
    const Vec b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec factor = splat(a[r * a_row]);
      sums[r][0] += factor * b0;
      sums[r][1] += factor * b1;
    }
    a += a_column;
    b += b_row;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    store(c + r * c_row, sums[r][0]);
    store(c + r * c_row + kLanes, sums[r][1]);
  }
}

template <bool kAdd, int kRows = kBlockRows>
inline void block_of(int rows, std::int64_t depth, const float* a, std::ptrdiff_t a_row, std::ptrdiff_t a_column,
                     const float* b, std::ptrdiff_t b_row, float* c, std::ptrdiff_t c_row) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return block_of<kAdd, kRows - 1>(rows, depth, a, a_row, a_column, b, b_row, c, c_row);
  }
  block<kRows, kAdd>(depth, a, a_row, a_column, b, b_row, c, c_row);
}

// Computes c[rows, kPanel] from a panel of b, in blocks of nearly equal height: a small last block would stall on its
// own sums.
template <bool kAdd>
inline void rows_of_blocks(std::int64_t rows, std::int64_t depth, const float* a, std::ptrdiff_t a_row,
                           std::ptrdiff_t a_column, const float* b, std::ptrdiff_t b_row, float* c,
                           std::ptrdiff_t c_row) {
  std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  for (std::int64_t row = 0; row < rows; --blocks) {
    const std::int64_t now = (rows - row + blocks - 1) / blocks;
    block_of<kAdd>(static_cast<int>(now), depth, a + row * a_row, a_row, a_column, b, b_row, c + row * c_row, c_row);
    row += now;
  }
}

// Copies [depth, columns] of b to panels [panels][depth][kPanel], padded with zeros after the last column.
inline void pack_panels(const float* b, std::ptrdiff_t b_row, std::int64_t depth, std::int64_t columns, float* panels) {
  for (std::int64_t column = 0; column < columns; column += kPanel) {
    const std::int64_t width = columns - column < kPanel ? columns - column : kPanel;
    for (std::int64_t k = 0; k < depth; ++k, panels += kPanel) {
      const float* from = b + k * b_row + column;
      if (width == kPanel) {
        store(panels, load(from));
        store(panels + kLanes, load(from + kLanes));
      } else {
        for (std::int64_t j = 0; j < kPanel; ++j) panels[j] = j < width ? from[j] : 0.0f;
      }
    }
  }
}

// Computes rows x columns of c from packed panels; the last panel may be partial.
template <bool kAdd>
void product_block(std::int64_t rows, std::int64_t columns, std::int64_t depth, const float* a, std::ptrdiff_t a_row,
                   std::ptrdiff_t a_column, const float* panels, float* c, std::ptrdiff_t c_row) {
  for (std::int64_t column = 0; column < columns; column += kPanel, panels += depth * kPanel) {
    if (columns - column >= kPanel) {
      rows_of_blocks<kAdd>(rows, depth, a, a_row, a_column, panels, kPanel, c + column, c_row);
      continue;
    }
    float edge[kProductRows * kPanel];
    const std::int64_t width = columns - column;
    if (kAdd) {
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < kPanel; ++j) edge[r * kPanel + j] = j < width ? c[r * c_row + column + j] : 0.0f;
      }
    }
    rows_of_blocks<kAdd>(rows, depth, a, a_row, a_column, panels, kPanel, edge, kPanel);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < width; ++j) c[r * c_row + column + j] = edge[r * kPanel + j];
    }
  }
}

static_assert(kPackedColumns % kPanel == 0 && kRowProductColumns % kDotColumns == 0);

void pack(const PanelPacking& p) {
  pack_panels(p.b, p.b_row, p.depth, p.columns, p.packed);
}

// Blocks of b that fill the scratch buffer stay packed in the L2 cache while all rows of a are processed.
void product(const Product& p) {
  constexpr std::int64_t kMostColumns = 512;
  const std::int64_t most = p.depth < kProductDepth ? p.depth : kProductDepth;
  std::int64_t width = kProductScratch / most / kPanel * kPanel;
  width = width < kPanel ? kPanel : width > kMostColumns ? kMostColumns : width;
  for (std::int64_t column = 0; column < p.columns; column += width) {
    const std::int64_t columns = p.columns - column < width ? p.columns - column : width;
    for (std::int64_t k = 0; k < p.depth; k += kProductDepth) {
      const std::int64_t depth = p.depth - k < kProductDepth ? p.depth - k : kProductDepth;
      const float* panels = p.scratch;
      if (p.packed != nullptr) {
        panels = p.packed + column * p.depth;
      } else {
        pack_panels(p.b + k * p.b_row + column, p.b_row, depth, columns, p.scratch);
      }
      for (std::int64_t row = 0; row < p.rows; row += kProductRows) {
        const std::int64_t rows = p.rows - row < kProductRows ? p.rows - row : kProductRows;
        const float* a = p.a + row * p.a_row + k * p.a_column;
        float* c = p.c + row * p.c_row + column;
        if (k == 0) {
          product_block<false>(rows, columns, depth, a, p.a_row, p.a_column, panels, c, p.c_row);
        } else {
          product_block<true>(rows, columns, depth, a, p.a_row, p.a_column, panels, c, p.c_row);
        }
      }
    }
  }
}

// ---- Rows by rows ----

// out[r][j] += or = the dot product of row r of a and row j of b, over `depth` floats.
template <int kRows, int kColumns, bool kAdd>
inline void dots(std::int64_t depth, const float* a, std::ptrdiff_t a_row, const float* b, std::ptrdiff_t b_row,
                 float* c, std::ptrdiff_t c_row) {
  Vec sums[kRows][kColumns];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) sums[r][j] = Vec{};
  }
  std::int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    Vec factors[kColumns];
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) factors[j] = load(b + j * b_row + k);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec row = load(a + r * a_row + k);
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) sums[r][j] += row * factors[j];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) {
      float total = sum(sums[r][j]);
      for (std::int64_t i = k; i < depth; ++i) total += a[r * a_row + i] * b[j * b_row + i];
      c[r * c_row + j] = kAdd ? c[r * c_row + j] + total : total;
    }
  }
}

template <bool kAdd, int kRows = kDotRows, int kColumns = kDotColumns>
inline void dots_of(std::int64_t rows, std::int64_t columns, std::int64_t depth, const float* a, std::ptrdiff_t a_row,
                    const float* b, std::ptrdiff_t b_row, float* c, std::ptrdiff_t c_row) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return dots_of<kAdd, kRows - 1, kColumns>(rows, columns, depth, a, a_row, b, b_row, c, c_row);
  }
  if constexpr (kColumns > 1) {
    if (columns < kColumns)
      return dots_of<kAdd, kRows, kColumns - 1>(rows, columns, depth, a, a_row, b, b_row, c, c_row);
  }
  dots<kRows, kColumns, kAdd>(depth, a, a_row, b, b_row, c, c_row);
}

// Rows are split into equal pieces of at most kDepth floats: kDotRows rows of a stay in the L1 cache while
// kRowProductColumns rows of b, which stay in the L2 cache, are processed.
void row_products(const RowProducts& p) {
  constexpr std::int64_t kDepth = 896;
  const std::int64_t pieces = (p.depth + kDepth - 1) / kDepth;
  const std::int64_t piece = ((p.depth + pieces - 1) / pieces + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t column = 0; column < p.columns; column += kRowProductColumns) {
    const std::int64_t columns_end = column + kRowProductColumns < p.columns ? column + kRowProductColumns : p.columns;
    for (std::int64_t k = 0; k < p.depth; k += piece) {
      const std::int64_t depth = p.depth - k < piece ? p.depth - k : piece;
      for (std::int64_t row = 0; row < p.rows; row += kDotRows) {
        for (std::int64_t j = column; j < columns_end; j += kDotColumns) {
          const auto at = [&](auto add) {
            dots_of<decltype(add)::value>(p.rows - row, columns_end - j, depth, p.a + row * p.a_row + k, p.a_row,
                                          p.b + j * p.b_row + k, p.b_row, p.c + row * p.c_row + j, p.c_row);
          };
          if (k == 0) {
            at(std::false_type{});
          } else {
            at(std::true_type{});
          }
        }
      }
    }
    for (std::int64_t row = 0; row < p.rows; ++row) {
      float* c = p.c + row * p.c_row;
      for (std::int64_t j = column; j < columns_end; ++j) {
        const float y = c[j] + p.biases[j];
        c[j] = p.relu && y <= 0.0f ? 0.0f : y;  // NaN is not changed.
      }
    }
  }
}
