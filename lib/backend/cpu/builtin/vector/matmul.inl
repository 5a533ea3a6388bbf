// Matrix products. Blocks of the result stay in registers: kBlockRows x 2 vectors when summing rows of b, and kDotRows
// x kDotColumns when multiplying rows with rows.

constexpr int kBlockRows = kRegisters >= 32 ? 12 : 6;
constexpr int kDotRows = kRegisters >= 32 ? 6 : 4;
constexpr int kDotColumns = kRegisters >= 32 ? 4 : 3;
constexpr std::int64_t kPanel = 2 * kLanes;  // columns per block
static_assert(kProductRows % kBlockRows == 0);

// Where the operands of c = or += a b are; element (i, k) of a is a[i * a_row + k * a_column], and rows of b and c are
// contiguous.
struct Operands {
  const float* a;
  std::ptrdiff_t a_row, a_column;
  const float* b;
  std::ptrdiff_t b_row;
  float* c;
  std::ptrdiff_t c_row;
  bool add;  // to what is in c
};

// For a stride of the columns of a, or of the rows of b, that is in the operands. Strides known at compile time save
// address arithmetic.
constexpr std::ptrdiff_t kAny = 0;

// One block: c[kRows, kPanel] = or += a b. Bound: kRows * 2 multiply-adds in kRows cycles (two per cycle), with kRows +
// 2 operand loads.
template <std::ptrdiff_t kColumnOfA, std::ptrdiff_t kRowOfB, int kRows>
inline void block(std::int64_t depth, const Operands& o) {
  // Copies, because the compiler must assume that the stores change `o`.
  const float *a = o.a, *b = o.b;
  float* const c = o.c;
  const std::ptrdiff_t a_row = o.a_row, c_row = o.c_row;
  const std::ptrdiff_t a_column = kColumnOfA != kAny ? kColumnOfA : o.a_column;
  const std::ptrdiff_t b_row = kRowOfB != kAny ? kRowOfB : o.b_row;
  Vec sums[kRows][2] = {};
  if (o.add) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      sums[r][0] = load(c + r * c_row);
      sums[r][1] = load(c + r * c_row + kLanes);
    }
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

template <std::ptrdiff_t kColumnOfA, std::ptrdiff_t kRowOfB, int kRows = kBlockRows>
inline void block_of(int rows, std::int64_t depth, const Operands& o) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return block_of<kColumnOfA, kRowOfB, kRows - 1>(rows, depth, o);
  }
  block<kColumnOfA, kRowOfB, kRows>(depth, o);
}

// Computes c[rows, kPanel] from a panel of b, in blocks of nearly equal height: a small last block would stall on its
// own sums.
template <std::ptrdiff_t kColumnOfA, std::ptrdiff_t kRowOfB>
inline void rows_of_blocks(std::int64_t rows, std::int64_t depth, Operands o) {
  std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  for (std::int64_t row = 0; row < rows; --blocks) {
    const std::int64_t now = (rows - row + blocks - 1) / blocks;
    block_of<kColumnOfA, kRowOfB>(static_cast<int>(now), depth, o);
    o.a += now * o.a_row;
    o.c += now * o.c_row;
    row += now;
  }
}

// Copies [depth, columns] of b to panels [panels][depth][kPanel], padded with zeros after the last column.
void pack(const PanelPacking& p) {
  const std::int64_t depth = p.depth;
  const std::ptrdiff_t b_row = p.b_row;
  float* panels = p.packed;
  for (std::int64_t column = 0; column < p.columns; column += kPanel) {
    const std::int64_t width = p.columns - column < kPanel ? p.columns - column : kPanel;
    const float* from = p.b + column;
    for (std::int64_t k = 0; k < depth; ++k, panels += kPanel, from += b_row) {
      if (width == kPanel) {
        store(panels, load(from));
        store(panels + kLanes, load(from + kLanes));
      } else {
        for (std::int64_t j = 0; j < kPanel; ++j) panels[j] = j < width ? from[j] : 0.0f;
      }
    }
  }
}

// Computes rows x columns of c from b in packed panels; the last panel may be partial.
void product_block(std::int64_t rows, std::int64_t columns, std::int64_t depth, Operands o) {
  for (std::int64_t column = 0; column < columns; column += kPanel, o.b += depth * kPanel, o.c += kPanel) {
    if (columns - column >= kPanel) {
      rows_of_blocks<kAny, kPanel>(rows, depth, o);
      continue;
    }
    float edge[kProductRows * kPanel];
    const std::int64_t width = columns - column;
    if (o.add) {
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < kPanel; ++j) edge[r * kPanel + j] = j < width ? o.c[r * o.c_row + j] : 0.0f;
      }
    }
    rows_of_blocks<kAny, kPanel>(rows, depth, {o.a, o.a_row, o.a_column, o.b, o.b_row, edge, kPanel, o.add});
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < width; ++j) o.c[r * o.c_row + j] = edge[r * kPanel + j];
    }
  }
}

static_assert(kPackedColumns % kPanel == 0 && kRowProductColumns % kDotColumns == 0);

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
        pack({columns, depth, p.b + k * p.b_row + column, p.b_row, p.scratch});
      }
      for (std::int64_t row = 0; row < p.rows; row += kProductRows) {
        const std::int64_t rows = p.rows - row < kProductRows ? p.rows - row : kProductRows;
        product_block(rows, columns, depth,
                      {p.a + row * p.a_row + k * p.a_column, p.a_row, p.a_column, panels, kPanel,
                       p.c + row * p.c_row + column, p.c_row, k > 0});
      }
    }
  }
}

// ---- Rows by rows ----

// c[r][j] = or += the dot product of row r of a and row j of b, over `depth` contiguous floats.
template <int kRows, int kColumns>
inline void dots(std::int64_t depth, const Operands& o) {
  const float *const a = o.a, *const b = o.b;
  const std::ptrdiff_t a_row = o.a_row, b_row = o.b_row;
  Vec sums[kRows][kColumns] = {};
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
      float& c = o.c[r * o.c_row + j];
      c = o.add ? c + total : total;
    }
  }
}

template <int kRows = kDotRows, int kColumns = kDotColumns>
inline void dots_of(std::int64_t rows, std::int64_t columns, std::int64_t depth, const Operands& o) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return dots_of<kRows - 1, kColumns>(rows, columns, depth, o);
  }
  if constexpr (kColumns > 1) {
    if (columns < kColumns) return dots_of<kRows, kColumns - 1>(rows, columns, depth, o);
  }
  dots<kRows, kColumns>(depth, o);
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
          dots_of(p.rows - row, columns_end - j, depth,
                  {p.a + row * p.a_row + k, p.a_row, 1, p.b + j * p.b_row + k, p.b_row, p.c + row * p.c_row + j,
                   p.c_row, k > 0});
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
