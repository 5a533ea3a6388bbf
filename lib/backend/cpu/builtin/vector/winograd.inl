// Winograd's F(4x4, 5x5). With an 8x8 input tile d and the 5x5 weights g, the 4x4 output tile is y = A^T [(G g G^T) *
// (B^T d B)] A (Lavin and Gray, arXiv 1509.09308), where the elementwise products are summed over input channels. The
// gradients are the transposed operations: with Z = A dy A^T, that of the input is B (G g G^T * Z) B^T and that of the
// weights is G^T (B^T d B * Z) G. Both use the same transform of dy.

constexpr int kTile = 8, kOutputs = 4, kTaps = 5;

// The three Toom-Cook matrices: evaluate a polynomial at seven points and at infinity, and interpolate.
struct WinogradMatrices {
  float a[kTile][kOutputs];  // outputs to points
  float g[kTile][kTaps];     // weights to points
  float b[kTile][kTile];     // B^T: inputs to points
};

constexpr WinogradMatrices winograd_matrices() {
  constexpr int kFinite = kTile - 1;
  constexpr double kPoints[kFinite] = {0, 1, -1, 2, -2, 0.5, -0.5};  // points of opposite sign are adjacent
  WinogradMatrices m = {};
  for (int j = 0; j < kTile; ++j) {
    // The coefficients of the product of (x - point) over all other points.
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

// Adds weight * v to a sum that may still be empty. Weights are constants, so zeros and ones cost nothing.
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

// The points are processed in pairs. Points 1 and 2, 3 and 4, 5 and 6 are opposite numbers, so their rows differ only
// in the sign of odd columns. The remaining pair is 0 and infinity.
template <int kPair>
constexpr int kFirst = kPair == 0 ? 0 : 2 * kPair - 1;
template <int kPair>
constexpr int kSecond = kPair == 0 ? kTile - 1 : 2 * kPair;

// Calls work with each pair as a compile-time constant.
template <typename Work>
inline __attribute__((always_inline)) void for_each_pair(const Work& work) {
  work(std::integral_constant<int, 0>{});
  work(std::integral_constant<int, 1>{});
  work(std::integral_constant<int, 2>{});
  work(std::integral_constant<int, 3>{});
}

// Multiplies the two rows of matrix that form a pair by from.
template <const auto& kMatrix, int kPair, int kColumns>
inline __attribute__((always_inline)) void expand_pair(const Vec (&from)[kColumns], Vec& first, Vec& second) {
  Sum even, odd;
  if constexpr (kPair == 0) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      even.add(kMatrix[kFirst<kPair>][c], from[c]);
      odd.add(kMatrix[kSecond<kPair>][c], from[c]);
    }
    first = even.total;
    second = odd.total;
  } else {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) (c % 2 == 0 ? even : odd).add(kMatrix[kFirst<kPair>][c], from[c]);
    first = even.total + odd.total;
    second = even.total - odd.total;
  }
}

// to += the pair's part of matrix^T from.
template <const auto& kMatrix, int kPair, int kColumns>
inline __attribute__((always_inline)) void contract_pair(Vec first, Vec second, Sum (&to)[kColumns]) {
  if constexpr (kPair == 0) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      to[c].add(kMatrix[kFirst<kPair>][c], first);
      to[c].add(kMatrix[kSecond<kPair>][c], second);
    }
  } else {
    const Vec sum = first + second, difference = first - second;
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) to[c].add(kMatrix[kFirst<kPair>][c], c % 2 == 0 ? sum : difference);
  }
}

// to = matrix from
template <const auto& kMatrix, int kColumns>
inline __attribute__((always_inline)) void expand(const Vec (&from)[kColumns], Vec (&to)[kTile]) {
  for_each_pair([&](auto pair) __attribute__((always_inline)) {
    expand_pair<kMatrix, pair()>(from, to[kFirst<pair()>], to[kSecond<pair()>]);
  });
}

// to = matrix^T from
template <const auto& kMatrix, int kColumns>
inline __attribute__((always_inline)) void contract(const Vec (&from)[kTile], Vec (&to)[kColumns]) {
  Sum sums[kColumns];
  for_each_pair([&](auto pair) __attribute__((always_inline)) {
    contract_pair<kMatrix, pair()>(from[kFirst<pair()>], from[kSecond<pair()>], sums);
  });
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) to[c] = sums[c].total;
}

// A band of a transform is the 16 points of two rows that form a pair; point x of row r is number 8 r + x of the band.
// All images are processed band by band, so that the band's weights and sums stay in the L2 cache. Those of all points
// would not fit.
constexpr int kBand = 2 * kTile;  // points

// A band of matrix from matrix^T; `from` provides column x of the tile, `put` receives row r of the band.
template <const auto& kMatrix, int kPair, int kColumns, typename From, typename Put>
inline __attribute__((always_inline)) void expand_band(const From& from, const Put& put) {
  Vec half[2][kColumns];
#pragma GCC unroll 8
  for (int x = 0; x < kColumns; ++x) {
    Vec column[kColumns];
    from(x, column);
    expand_pair<kMatrix, kPair>(column, half[0][x], half[1][x]);
  }
#pragma GCC unroll 2
  for (int r = 0; r < 2; ++r) {
    Vec row[kTile];
    expand<kMatrix>(half[r], row);
    put(r, row);
  }
}

// The reverse: `from` provides row r of the band; `add` adds the sums to column x of matrix^T band matrix.
template <const auto& kMatrix, int kPair, int kColumns, typename From, typename Add>
inline __attribute__((always_inline)) void contract_band(const From& from, const Add& add) {
  Vec half[2][kColumns];
#pragma GCC unroll 2
  for (int r = 0; r < 2; ++r) {
    Vec row[kTile];
    from(r, row);
    contract<kMatrix>(row, half[r]);
  }
#pragma GCC unroll 8
  for (int x = 0; x < kColumns; ++x) add(x, half[0][x], half[1][x]);
}

// A whole transform of weights: to[8, 8] = matrix from matrix^T; `from` provides row y, `put` receives column x.
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

// The reverse: `from` provides column x of the transform, `put` receives row y of matrix^T transform matrix.
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

// Point (y, x) of a transform is at (8 y + x) * stride.
inline void put_points(float* to, std::ptrdiff_t stride, int x, const Vec (&column)[kTile]) {
  for (int y = 0; y < kTile; ++y) store(to + (kTile * y + x) * stride, column[y]);
}
inline void get_points(const float* from, std::ptrdiff_t stride, int x, Vec (&column)[kTile]) {
  for (int y = 0; y < kTile; ++y) column[y] = load(from + (kTile * y + x) * stride);
}

void winograd_weights(const WinogradWeights& p) {
  const std::ptrdiff_t matrix = p.in * p.out, stride = winograd_weight_stride(p.in, p.out);
  for (std::int64_t i = p.begin * p.out; i < p.end * p.out; i += kLanes) {
    expand_tile<kG, kTaps>(
        [&](int y, Vec(&row)[kTaps]) {
          for (int x = 0; x < kTaps; ++x) row[x] = load(p.weights + (kTaps * y + x) * matrix + i);
        },
        [&](int x, const Vec(&column)[kTile]) { put_points(p.transformed + i, stride, x, column); });
  }
  if (p.transposed == nullptr) return;
  constexpr std::int64_t kBlock = kChannelShare;
  for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
    const float* from = p.transformed + point * stride;
    float* to = p.transposed + point * stride;
    for (std::int64_t ci = p.begin; ci < p.end; ci += kBlock) {
      for (std::int64_t co = 0; co < p.out; ++co) {
        for (std::int64_t i = 0; i < kBlock; ++i) to[co * p.in + ci + i] = from[(ci + i) * p.out + co];
      }
    }
  }
}

// Calls work(tile, top, left) for each tile, with its position in tiles.
template <typename Work>
inline __attribute__((always_inline)) void for_each_tile(const WinogradShape& s, const Work& work) {
  const std::int64_t rows = s.tile_rows(), columns = s.tile_columns();
  for (std::int64_t y = 0, tile = 0; y < rows; ++y) {
    for (std::int64_t x = 0; x < columns; ++x, ++tile) work(tile, y, x);
  }
}

// c[rows, columns] = or += a b, where columns, the stride of b and c, is a multiple of the panel width.
template <std::ptrdiff_t kColumnOfA>
void small_product(std::int64_t rows, std::int64_t depth, Operands o) {
  for (std::int64_t column = 0; column < o.c_row; column += kPanel, o.b += kPanel, o.c += kPanel) {
    rows_of_blocks<kColumnOfA, kAny>(rows, depth, o);
  }
}

// Calls work(index in the band, index overall) for the points of a band.
template <int kPair, typename Work>
inline __attribute__((always_inline)) void for_each_point(const Work& work) {
  for (int x = 0; x < kTile; ++x) work(x, kTile * kFirst<kPair> + x);
  for (int x = 0; x < kTile; ++x) work(kTile + x, kTile * kSecond<kPair> + x);
}

// Calls work(first, number) for each group of images that share products.
template <typename Work>
inline __attribute__((always_inline)) void for_some_images(std::int64_t images, const Work& work) {
  for (std::int64_t n = 0; n < images; n += kWinogradImages) {
    work(n, images - n < kWinogradImages ? images - n : kWinogradImages);
  }
}

// A band of all tiles of an image, [16][tiles, in].
template <int kPair>
void transform_image(const WinogradShape& s, const float* image, float* transformed) {
  const std::int64_t in = s.convolution.in;
  const std::ptrdiff_t image_row = s.padded_width() * in, stride = s.in_stride();
  for_each_tile(s, [&](std::int64_t tile, std::int64_t top, std::int64_t left) {
    const float* corner = image + 4 * top * image_row + 4 * left * in;
    float* to = transformed + tile * in;
    for (std::int64_t c = 0; c < in; c += kLanes) {
      expand_band<kBt, kPair, kTile>(
          [&](int x, Vec(&column)[kTile]) __attribute__((always_inline)) {
#pragma GCC unroll 8
            for (int y = 0; y < kTile; ++y) column[y] = load(corner + y * image_row + x * in + c);
          },
          [&](int r, const Vec(&row)[kTile]) __attribute__((always_inline)) {
#pragma GCC unroll 8
            for (int x = 0; x < kTile; ++x) store(to + (kTile * r + x) * stride + c, row[x]);
          });
    }
  });
}

// Adds the contribution of a band to the outputs, [tiles, out / kLanes][4, 4] vectors; the first pair overwrites them.
template <int kPair>
void add_outputs(const WinogradShape& s, const float* transformed, float* outputs) {
  const std::int64_t out = s.convolution.out;
  const std::ptrdiff_t stride = s.out_stride();
  for (std::int64_t at = 0; at < s.tiles() * out; at += kLanes, outputs += kOutputs * kOutputs * kLanes) {
    contract_band<kA, kPair, kOutputs>(
        [&](int r, Vec(&row)[kTile]) __attribute__((always_inline)) {
#pragma GCC unroll 8
          for (int x = 0; x < kTile; ++x) row[x] = load(transformed + (kTile * r + x) * stride + at);
        },
        [&](int x, Vec first, Vec second) __attribute__((always_inline)) {
          float* const to = outputs + x * kLanes;
          Sum sums[kOutputs];
#pragma GCC unroll 4
          for (int y = 0; y < kOutputs; ++y) {
            sums[y] = kPair == 0 ? Sum{} : Sum{load(to + y * kOutputs * kLanes), true};
          }
          contract_pair<kA, kPair>(first, second, sums);
#pragma GCC unroll 4
          for (int y = 0; y < kOutputs; ++y) store(to + y * kOutputs * kLanes, sums[y].total);
        });
  }
}

void pool_outputs(const WinogradShape& s, const float* outputs, const float* biases, const Pooled& pooled) {
  const std::int64_t out = s.convolution.out, height = s.convolution.height / 2, width = s.convolution.width / 2;
  for_each_tile(s, [&](std::int64_t, std::int64_t tile_top, std::int64_t tile_left) {
    const std::int64_t top = 2 * tile_top, left = 2 * tile_left;
    for (std::int64_t c = 0; c < out; c += kLanes, outputs += kOutputs * kOutputs * kLanes) {
      const Vec bias = load(biases + c);
      for (std::int64_t y = 0; y < 2 && top + y < height; ++y) {
        for (std::int64_t x = 0; x < 2 && left + x < width; ++x) {
          const float* corner = outputs + (2 * y * kOutputs + 2 * x) * kLanes;
          const Vec window[4] = {load(corner), load(corner + kLanes), load(corner + kOutputs * kLanes),
                                 load(corner + (kOutputs + 1) * kLanes)};
          const std::ptrdiff_t at = ((top + y) * width + left + x) * out + c;
          pool(window, bias, pooled.values + at, pooled.choices + at);
        }
      }
    }
  });
}

void winograd_forward(const WinogradForward& p) {
  const WinogradShape& s = p.shape;
  const std::int64_t in = s.convolution.in, out = s.convolution.out;
  const std::ptrdiff_t weight_stride = winograd_weight_stride(in, out);
  float* const inputs = p.scratch;
  float* const products = inputs + kBand * s.in_stride();
  float* const outputs = products + kBand * s.out_stride();
  for_each_pair([&](auto pair) {
    for_some_images(p.images, [&](std::int64_t first, std::int64_t images) {
      for (std::int64_t i = 0; i < images; ++i) {
        transform_image<pair()>(s, p.image + (first + i) * s.padded_size(), inputs + i * s.tiles() * in);
      }
      for_each_point<pair()>([&](int point, int of_all) {
        small_product<1>(images * s.tiles(), in,
                         {inputs + point * s.in_stride(), in, 1, p.transformed + of_all * weight_stride, out,
                          products + point * s.out_stride(), out, false});
      });
      for (std::int64_t i = 0; i < images; ++i) {
        add_outputs<pair()>(s, products + i * s.tiles() * out, outputs + (first + i) * s.outputs_size());
      }
    });
  });
  for (std::int64_t n = 0; n < p.images; ++n) {
    const std::ptrdiff_t at = n * s.convolution.pooled_size();
    pool_outputs(s, outputs + n * s.outputs_size(), p.biases, {p.pooled.values + at, p.pooled.choices + at});
  }
}

// A band of Z, [16][tiles, out], for an image's gradient; the first pair also adds the gradient of the biases. Each
// band expands the pooled gradient again, because reading the pixels of all images would be four times as much data.
template <int kPair>
void transform_gradient(const WinogradShape& s, const PooledGradient& gradient, float* transformed, float* bias_sums) {
  const std::int64_t out = s.convolution.out, height = s.convolution.height / 2, width = s.convolution.width / 2;
  const std::ptrdiff_t stride = s.out_stride();
  for_each_tile(s, [&](std::int64_t tile, std::int64_t tile_top, std::int64_t tile_left) {
    const std::int64_t top = 2 * tile_top, left = 2 * tile_left;
    const std::int64_t rows = height - top < 2 ? 1 : 2, columns = width - left < 2 ? 1 : 2;
    float* to = transformed + tile * out;
    for (std::int64_t c = 0; c < out; c += kLanes) {
      Vec pixels[kOutputs][kOutputs];
      Vec bias_sum = {};
#pragma GCC unroll 2
      for (int y = 0; y < 2; ++y) {
#pragma GCC unroll 2
        for (int x = 0; x < 2; ++x) {
          Vec window[4] = {};
          if (y < rows && x < columns) {
            const std::ptrdiff_t at = ((top + y) * width + left + x) * out + c;
            bias_sum += unpool(gradient.values + at, gradient.choices + at, window);
          }
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) pixels[2 * y + i / 2][2 * x + i % 2] = window[i];
        }
      }
      if (kPair == 0) store(bias_sums + c, load(bias_sums + c) + bias_sum);
      expand_band<kA, kPair, kOutputs>(
          [&](int x, Vec(&column)[kOutputs]) __attribute__((always_inline)) {
#pragma GCC unroll 4
            for (int y = 0; y < kOutputs; ++y) column[y] = pixels[y][x];
          },
          [&](int r, const Vec(&row)[kTile]) __attribute__((always_inline)) {
#pragma GCC unroll 8
            for (int x = 0; x < kTile; ++x) store(to + (kTile * r + x) * stride + c, row[x]);
          });
    }
  });
}

// Adds the contribution of a band to the gradient of an image, in which tiles overlap.
template <int kPair>
void add_image_gradient(const WinogradShape& s, const float* transformed, float* gradient) {
  const std::int64_t in = s.convolution.in;
  const std::ptrdiff_t image_row = s.padded_width() * in, stride = s.in_stride();
  for_each_tile(s, [&](std::int64_t tile, std::int64_t top, std::int64_t left) {
    float* corner = gradient + 4 * top * image_row + 4 * left * in;
    const float* from = transformed + tile * in;
    for (std::int64_t c = 0; c < in; c += kLanes) {
      contract_band<kBt, kPair, kTile>(
          [&](int r, Vec(&row)[kTile]) __attribute__((always_inline)) {
#pragma GCC unroll 8
            for (int x = 0; x < kTile; ++x) row[x] = load(from + (kTile * r + x) * stride + c);
          },
          [&](int x, Vec first, Vec second) __attribute__((always_inline)) {
            float* const to = corner + x * in + c;
            Sum sums[kTile];
#pragma GCC unroll 8
            for (int y = 0; y < kTile; ++y) sums[y] = {load(to + y * image_row), true};
            contract_pair<kBt, kPair>(first, second, sums);
#pragma GCC unroll 8
            for (int y = 0; y < kTile; ++y) store(to + y * image_row, sums[y].total);
          });
    }
  });
}

void winograd_backward(const WinogradBackward& p) {
  const WinogradShape& s = p.shape;
  const std::int64_t in = s.convolution.in, out = s.convolution.out;
  const std::ptrdiff_t weight_stride = winograd_weight_stride(in, out);
  float* const inputs = p.scratch;
  float* const gradients = inputs + kBand * s.in_stride();
  if (p.image_gradient != nullptr) {
    __builtin_memset(p.image_gradient, 0, static_cast<std::size_t>(p.images * s.padded_size()) * sizeof(float));
  }
  for_each_pair([&](auto pair) {
    for_some_images(p.images, [&](std::int64_t first, std::int64_t images) {
      for (std::int64_t i = 0; i < images; ++i) {
        const std::ptrdiff_t at = (first + i) * s.convolution.pooled_size();
        transform_image<pair()>(s, p.image + (first + i) * s.padded_size(), inputs + i * s.tiles() * in);
        transform_gradient<pair()>(s, {p.gradient.values + at, p.gradient.choices + at},
                                   gradients + i * s.tiles() * out, p.bias_sums);
      }
      for_each_point<pair()>([&](int point, int of_all) {
        float* const input = inputs + point * s.in_stride();
        const float* const gradient = gradients + point * s.out_stride();
        const std::int64_t tiles = images * s.tiles();
        small_product<kAny>(in, tiles,
                            {input, 1, in, gradient, out, p.weight_sums + of_all * weight_stride, out, true});
        if (p.image_gradient == nullptr) return;
        // Overwrites the input, which is no longer needed.
        small_product<1>(tiles, out, {gradient, out, 1, p.transposed + of_all * weight_stride, in, input, in, false});
      });
      if (p.image_gradient == nullptr) return;
      for (std::int64_t i = 0; i < images; ++i) {
        add_image_gradient<pair()>(s, inputs + i * s.tiles() * in, p.image_gradient + (first + i) * s.padded_size());
      }
    });
  });
}

void winograd_weight_gradient(const WinogradWeightGradient& p) {
  const std::ptrdiff_t matrix = p.in * p.out, stride = winograd_weight_stride(p.in, p.out);
  for (std::int64_t i = p.begin * p.out; i < p.end * p.out; i += kLanes) {
    contract_tile<kG, kTaps>([&](int x, Vec(&column)[kTile]) { get_points(p.sums + i, stride, x, column); },
                             [&](int y, const Vec(&row)[kTaps]) {
                               for (int x = 0; x < kTaps; ++x) store(p.gradient + (kTaps * y + x) * matrix + i, row[x]);
                             });
  }
}
