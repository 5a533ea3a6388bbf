// Winograd's F(4x4, 5x5). With d an 8x8 tile of the input and g the 5x5 weights, y = A^T [(G g G^T) * (B^T d B)] A is the
// 4x4 tile of the output (Lavin and Gray, arXiv 1509.09308), summed over input channels between the two brackets. The
// gradients are the transposed of this: with Z = A dy A^T, that of the input is B (G g G^T * Z) B^T and that of the
// weights G^T (B^T d B * Z) G. So one transform of dy serves both.

constexpr int kTile = 8, kOutputs = 4, kTaps = 5;

// The three matrices, by Toom and Cook: the values of a polynomial at seven points and at infinity, and back.
struct WinogradMatrices {
  float a[kTile][kOutputs];  // outputs to points
  float g[kTile][kTaps];     // weights to points
  float b[kTile][kTile];     // B^T: inputs to points
};

constexpr WinogradMatrices winograd_matrices() {
  constexpr int kFinite = kTile - 1;
  constexpr double kPoints[kFinite] = {0, 1, -1, 2, -2, 0.5, -0.5};  // pairs of opposite sign follow one another
  WinogradMatrices m = {};
  for (int j = 0; j < kTile; ++j) {
    // The product of (x - point) over all other points, coefficient by coefficient.
    double polynomial[kTile] = {1};
    double scale = 1;
    int degree = 0;
    for (int l = 0; l < kFinite; ++l) {
      if (l == j) continue;
      ++degree;
      for (int i = degree; i > 0; --i) polynomial[i] = polynomial[i - 1] - kPoints[l] * polynomial[i];
      polynomial[0] *= -kPoints[l];
      if (j < kFinite) scale *= kPoints[j] - kPoints[l];
    }
    for (int i = 0; i < kTile; ++i) m.b[j][i] = static_cast<float>(polynomial[i]);
    double power = 1;
    for (int i = 0; i < kTaps; ++i) {
      if (j == kFinite) {
        m.g[j][i] = i == kTaps - 1 ? 1.0f : 0.0f;
        if (i < kOutputs) m.a[j][i] = i == kOutputs - 1 ? 1.0f : 0.0f;
      } else {
        m.g[j][i] = static_cast<float>(power / scale);
        if (i < kOutputs) m.a[j][i] = static_cast<float>(power);
        power *= kPoints[j];
      }
    }
  }
  return m;
}
constexpr WinogradMatrices kMatrices = winograd_matrices();
constexpr auto& kA = kMatrices.a;
constexpr auto& kG = kMatrices.g;
constexpr auto& kBt = kMatrices.b;

// Adds weight * v to a sum that may not have begun. Weights are constants, so nothing is left of zeros and ones.
struct Sum {
  Vec total = {};
  bool begun = false;
  inline __attribute__((always_inline)) void add(float weight, Vec v) {
    if (weight == 0) return;
    const Vec term = weight == 1 ? v : weight == -1 ? -v : v * weight;
    total = begun ? total + term : term;
    begun = true;
  }
};

// to = matrix from: rows 1 and 2, 3 and 4, 5 and 6 belong to opposite points, which differ in the sign of odd columns.
template <const auto& kMatrix, int kColumns>
inline __attribute__((always_inline)) void expand(const Vec (&from)[kColumns], Vec (&to)[kTile]) {
  Sum zero, infinity;
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) {
    zero.add(kMatrix[0][c], from[c]);
    infinity.add(kMatrix[kTile - 1][c], from[c]);
  }
  to[0] = zero.total;
  to[kTile - 1] = infinity.total;
#pragma GCC unroll 3
  for (int j = 1; j < kTile - 1; j += 2) {
    Sum even, odd;
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) (c % 2 == 0 ? even : odd).add(kMatrix[j][c], from[c]);
    to[j] = even.total + odd.total;
    to[j + 1] = even.total - odd.total;
  }
}

// to = matrix^T from.
template <const auto& kMatrix, int kColumns>
inline __attribute__((always_inline)) void contract(const Vec (&from)[kTile], Vec (&to)[kColumns]) {
  const Vec sums[3] = {from[1] + from[2], from[3] + from[4], from[5] + from[6]};
  const Vec differences[3] = {from[1] - from[2], from[3] - from[4], from[5] - from[6]};
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) {
    Sum total;
    total.add(kMatrix[0][c], from[0]);
#pragma GCC unroll 3
    for (int pair = 0; pair < 3; ++pair) {
      total.add(kMatrix[1 + 2 * pair][c], c % 2 == 0 ? sums[pair] : differences[pair]);
    }
    total.add(kMatrix[kTile - 1][c], from[kTile - 1]);
    to[c] = total.total;
  }
}

// to[8 rows * 8 columns] = matrix from matrix^T; `from` gives row y of the tile, `put` takes row y of the transform.
template <const auto& kMatrix, int kColumns, typename From, typename Put>
inline __attribute__((always_inline)) void expand_tile(const From& from, const Put& put) {
  Vec half[kColumns][kTile];
  for (int y = 0; y < kColumns; ++y) {
    Vec row[kColumns];
    from(y, row);
    expand<kMatrix>(row, half[y]);
  }
  for (int x = 0; x < kTile; ++x) {
    Vec column[kColumns], transformed[kTile];
    for (int y = 0; y < kColumns; ++y) column[y] = half[y][x];
    expand<kMatrix>(column, transformed);
    put(x, transformed);
  }
}

// The other way: `from` gives column x of the transform, `put` takes row y of matrix^T transform matrix.
template <const auto& kMatrix, int kColumns, typename From, typename Put>
inline __attribute__((always_inline)) void contract_tile(const From& from, const Put& put) {
  Vec half[kTile][kColumns];
  for (int x = 0; x < kTile; ++x) {
    Vec column[kTile];
    from(x, column);
    contract<kMatrix>(column, half[x]);
  }
  for (int y = 0; y < kColumns; ++y) {
    Vec row[kTile], out[kColumns];
    for (int x = 0; x < kTile; ++x) row[x] = half[x][y];
    contract<kMatrix>(row, out);
    put(y, out);
  }
}

// Point (y, x) of a transform lies at (8 y + x) * stride.
inline void put_points(float* to, std::ptrdiff_t stride, int x, const Vec (&column)[kTile]) {
  for (int y = 0; y < kTile; ++y) store(to + (kTile * y + x) * stride, column[y]);
}
inline void get_points(const float* from, std::ptrdiff_t stride, int x, Vec (&column)[kTile]) {
  for (int y = 0; y < kTile; ++y) column[y] = load(from + (kTile * y + x) * stride);
}

void winograd_weights(const WinogradWeights& p) {
  const std::ptrdiff_t matrix = p.in * p.out;
  for (std::int64_t i = p.begin * p.out; i < p.end * p.out; i += kLanes) {
    expand_tile<kG, kTaps>(
        [&](int y, Vec(&row)[kTaps]) {
          for (int x = 0; x < kTaps; ++x) row[x] = load(p.weights + (kTaps * y + x) * matrix + i);
        },
        [&](int x, const Vec(&column)[kTile]) { put_points(p.transformed + i, matrix, x, column); });
  }
  if (p.transposed == nullptr) return;
  constexpr std::int64_t kBlock = kChannelUnit;
  for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
    const float* from = p.transformed + point * matrix;
    float* to = p.transposed + point * matrix;
    for (std::int64_t ci = p.begin; ci < p.end; ci += kBlock) {
      for (std::int64_t co = 0; co < p.out; ++co) {
        for (std::int64_t i = 0; i < kBlock; ++i) to[co * p.in + ci + i] = from[(ci + i) * p.out + co];
      }
    }
  }
}

// The transforms of all tiles of an image, [64][tiles, in].
void transform_image(const WinogradShape& s, const float* image, float* transformed) {
  const std::int64_t in = s.convolution.in;
  const std::ptrdiff_t image_row = s.padded_width() * in;
  for (std::int64_t tile = 0; tile < s.tiles(); ++tile) {
    const float* corner = image + 4 * (tile / s.tile_columns()) * image_row + 4 * (tile % s.tile_columns()) * in;
    for (std::int64_t c = 0; c < in; c += kLanes) {
      expand_tile<kBt, kTile>(
          [&](int y, Vec(&row)[kTile]) {
            for (int x = 0; x < kTile; ++x) row[x] = load(corner + y * image_row + x * in + c);
          },
          [&](int x, const Vec(&column)[kTile]) {
            put_points(transformed + tile * in + c, s.in_stride(), x, column);
          });
    }
  }
}

// c[rows, columns] = or += a b, all columns in whole panels.
template <bool kAdd>
void small_product(std::int64_t rows, std::int64_t columns, std::int64_t depth, const float* a, std::ptrdiff_t a_row,
                   std::ptrdiff_t a_column, const float* b, float* c) {
  for (std::int64_t column = 0; column < columns; column += kPanel) {
    rows_of_blocks<kAdd>(rows, depth, a, a_row, a_column, b + column, columns, c + column, columns);
  }
}

void winograd_forward(const WinogradForward& p) {
  const WinogradShape& s = p.shape;
  const std::int64_t in = s.convolution.in, out = s.convolution.out;
  float* const inputs = p.scratch;
  float* const outputs = p.scratch + kWinogradPoints * s.in_stride();
  transform_image(s, p.image, inputs);
  for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
    small_product<false>(s.tiles(), out, in, inputs + point * s.in_stride(), in, 1, p.transformed + point * in * out,
                         outputs + point * s.out_stride());
  }
  const std::int64_t pooled_height = s.convolution.height / 2, pooled_width = s.convolution.width / 2;
  for (std::int64_t tile = 0; tile < s.tiles(); ++tile) {
    const std::int64_t top = 2 * (tile / s.tile_columns()), left = 2 * (tile % s.tile_columns());
    for (std::int64_t c = 0; c < out; c += kLanes) {
      Vec pixels[kOutputs][kOutputs];
      contract_tile<kA, kOutputs>(
          [&](int x, Vec(&column)[kTile]) { get_points(outputs + tile * out + c, s.out_stride(), x, column); },
          [&](int y, const Vec(&row)[kOutputs]) {
            for (int x = 0; x < kOutputs; ++x) pixels[y][x] = row[x];
          });
      const Vec bias = load(p.biases + c);
      for (std::int64_t y = 0; y < 2 && top + y < pooled_height; ++y) {
        for (std::int64_t x = 0; x < 2 && left + x < pooled_width; ++x) {
          const Vec window[4] = {pixels[2 * y][2 * x], pixels[2 * y][2 * x + 1], pixels[2 * y + 1][2 * x],
                                 pixels[2 * y + 1][2 * x + 1]};
          const std::ptrdiff_t at = ((top + y) * pooled_width + left + x) * out + c;
          pool(window, bias, p.pooled.values + at, p.pooled.choices + at);
        }
      }
    }
  }
}

// Z, [64][tiles, out], of an image's gradient; adds the gradient of the biases.
void transform_gradient(const WinogradBackward& p, float* transformed) {
  const WinogradShape& s = p.shape;
  const std::int64_t out = s.convolution.out;
  const std::int64_t pooled_height = s.convolution.height / 2, pooled_width = s.convolution.width / 2;
  for (std::int64_t tile = 0; tile < s.tiles(); ++tile) {
    const std::int64_t top = 2 * (tile / s.tile_columns()), left = 2 * (tile % s.tile_columns());
    const std::int64_t rows = pooled_height - top < 2 ? 1 : 2, columns = pooled_width - left < 2 ? 1 : 2;
    for (std::int64_t c = 0; c < out; c += kLanes) {
      Vec pixels[kOutputs][kOutputs] = {};
      Vec bias_sum = load(p.bias_sums + c);
      for (std::int64_t y = 0; y < rows; ++y) {
        for (std::int64_t x = 0; x < columns; ++x) {
          const std::ptrdiff_t at = ((top + y) * pooled_width + left + x) * out + c;
          Vec window[4];
          bias_sum += unpool(p.gradient.values + at, p.gradient.choices + at, window);
          for (int i = 0; i < 4; ++i) pixels[2 * y + i / 2][2 * x + i % 2] = window[i];
        }
      }
      store(p.bias_sums + c, bias_sum);
      expand_tile<kA, kOutputs>(
          [&](int y, Vec(&row)[kOutputs]) {
            for (int x = 0; x < kOutputs; ++x) row[x] = pixels[y][x];
          },
          [&](int x, const Vec(&column)[kTile]) {
            put_points(transformed + tile * out + c, s.out_stride(), x, column);
          });
    }
  }
}

// Tiles overlap in the input, so what they give is added up.
void add_image_gradient(const WinogradShape& s, const float* transformed, float* gradient) {
  const std::int64_t in = s.convolution.in;
  const std::ptrdiff_t image_row = s.padded_width() * in;
  __builtin_memset(gradient, 0, static_cast<std::size_t>(s.padded_size()) * sizeof(float));
  for (std::int64_t tile = 0; tile < s.tiles(); ++tile) {
    float* corner = gradient + 4 * (tile / s.tile_columns()) * image_row + 4 * (tile % s.tile_columns()) * in;
    for (std::int64_t c = 0; c < in; c += kLanes) {
      contract_tile<kBt, kTile>(
          [&](int x, Vec(&column)[kTile]) { get_points(transformed + tile * in + c, s.in_stride(), x, column); },
          [&](int y, const Vec(&row)[kTile]) {
            for (int x = 0; x < kTile; ++x) {
              float* to = corner + y * image_row + x * in + c;
              store(to, load(to) + row[x]);
            }
          });
    }
  }
}

void winograd_backward(const WinogradBackward& p) {
  const WinogradShape& s = p.shape;
  const std::int64_t in = s.convolution.in, out = s.convolution.out;
  float* const inputs = p.scratch;
  float* const gradients = p.scratch + kWinogradPoints * s.in_stride();
  transform_image(s, p.image, inputs);
  transform_gradient(p, gradients);
  for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
    float* const input = inputs + point * s.in_stride();  // [tiles, in]
    const float* const gradient = gradients + point * s.out_stride();
    small_product<true>(in, out, s.tiles(), input, 1, in, gradient, p.weight_sums + point * in * out);
    if (p.image_gradient == nullptr) continue;
    // In the place of the input, which has served.
    small_product<false>(s.tiles(), in, out, gradient, out, 1, p.transposed + point * in * out, input);
  }
  if (p.image_gradient != nullptr) add_image_gradient(s, inputs, p.image_gradient);
}

void winograd_weight_gradient(const WinogradWeightGradient& p) {
  const std::ptrdiff_t matrix = p.in * p.out;
  for (std::int64_t i = 0; i < matrix; i += kLanes) {
    contract_tile<kG, kTaps>(
        [&](int x, Vec(&column)[kTile]) { get_points(p.sums + i, matrix, x, column); },
        [&](int y, const Vec(&row)[kTaps]) {
          for (int x = 0; x < kTaps; ++x) store(p.gradient + (kTaps * y + x) * matrix + i, row[x]);
        });
  }
}
