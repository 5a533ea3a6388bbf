// Convolutions for channels in multiples of kBlockSide. In the forward pass and for the gradient of the image, a
// product's left factor is read in place from the padded image: the rows of a tile are adjacent pixels, its depth is 32
// channels of one tap.

// Rounds an image into its frames of zeros.
template <int kPlanes>
inline void put_image(const TileConvolution& s, const float* image, Bf16* padded) {
  const ConvolutionShape& c = s.convolution;
  for (std::int64_t channel = 0; channel < c.in; channel += kTileDepth, padded += kPlanes * s.padded_size()) {
    for (std::int64_t y = 0; y < c.height; ++y) {
      const float* from = image + y * c.width * c.in + channel;
      Bf16* to = padded + ((y + c.window_height / 2) * s.padded_width() + c.window_width / 2) * kTileDepth;
      for (std::int64_t x = 0; x < c.width; ++x, from += c.in, to += kTileDepth) {
        const Vec first = load(from), second = load(from + kLanes);
        store(to, halves_of<0>(first, second));
        if constexpr (kPlanes == kNearlyFloat) store(to + s.padded_size(), halves_of<1>(first, second));
      }
    }
  }
}

// The operands of a sum over all taps and input channels.
struct Correlation {
  std::int64_t in, out;  // channels
  const Bf16* padded;    // the image [in / 32][plane][padded_height(), padded_width(), 32]
  const Bf16* weights;   // a right factor [taps * in, out]
};

// The sums of kRows rows of one block of columns and 16 channels, in tiles 0 .. kRows - 1. Calls between() after each
// tap. Limit: the products, 16 cycles each; a tile of the weights is loaded once for all rows.
template <int kRows, int kPlanes, typename Between>
inline void correlate_block(Tiles& tiles, const TileConvolution& s, std::int64_t in, const Bf16* corner,
                            const Bf16* right, const Between& between) {
  const ConvolutionShape& c = s.convolution;
  const std::ptrdiff_t row = s.padded_width() * kTileDepth, plane = s.padded_size();
  each<kRows>([&](auto y) { tiles.zero<y>(); });
  for (std::int64_t window_row = 0; window_row < c.window_height; ++window_row) {
    for (std::int64_t window_column = 0; window_column < c.window_width; ++window_column) {
      const Bf16* left = corner + window_row * row + window_column * kTileDepth;
      for (std::int64_t depth = 0; depth < in; depth += kTileDepth) {
        tiles.load<kWholeTile>(right, kTileBytes);
        right += kTileSize;
        each<kRows>([&](auto y) {
          tiles.load<6>(left + y * row, kTileBytes);
          tiles.multiply<y, 6, kWholeTile>();
          if constexpr (kPlanes == kNearlyFloat) {
            tiles.load<6>(left + plane + y * row, kTileBytes);
            tiles.multiply<y, 6, kWholeTile>();
          }
        });
        if constexpr (kPlanes == kNearlyFloat) {
          tiles.load<kWholeTile>(right, kTileBytes);
          right += kTileSize;
          each<kRows>([&](auto y) {
            tiles.load<6>(left + y * row, kTileBytes);
            tiles.multiply<y, 6, kWholeTile>();
          });
        }
        left += kPlanes * plane;
      }
      between();
    }
  }
}

// Where a block's sums are.
struct BlockPlace {
  std::int64_t y, x, channel;
};

// Sums block by block. An image's rows are divided into groups of six, four or two. done(rows, place) is called with
// the sums in tiles 0 .. rows - 1, and between() after each tap.
template <int kPlanes, typename Done, typename Between>
inline void correlate(Tiles& tiles, const TileConvolution& s, const Correlation& operands, const Done& done,
                      const Between& between) {
  const ConvolutionShape& c = s.convolution;
  const std::ptrdiff_t strip_size = s.taps() * operands.in * kTileRows * kPlanes;
  const std::int64_t groups = (c.height + 5) / 6;
  for (std::int64_t channel = 0; channel < operands.out; channel += kTileRows) {
    const Bf16* const strip = operands.weights + channel / kTileRows * strip_size;
    for (std::int64_t group = 0, y = 0; group < groups; ++group) {
      const std::int64_t rows = (c.height / 2 + groups - 1 - group) / groups * 2;
      for (std::int64_t block = 0; block < c.width; block += s.columns()) {
        const std::int64_t x = block + s.columns() <= c.width ? block : c.width - s.columns();
        const Bf16* const corner = operands.padded + (y * s.padded_width() + x) * kTileDepth;
        const auto sum = [&](auto count) {
          correlate_block<count, kPlanes>(tiles, s, operands.in, corner, strip, between);
          done(count, BlockPlace{y, x, channel});
        };
        if (rows == 6) sum(std::integral_constant<int, 6>{});
        if (rows == 4) sum(std::integral_constant<int, 4>{});
        if (rows == 2) sum(std::integral_constant<int, 2>{});
      }
      y += rows;
    }
  }
}

// A block's sums are pooled between the products of the next one, so that neither waits for the other.
template <int kPlanes>
inline void forward(const TileConvolutionForward& p) {
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  alignas(64) float sums[6 * kTileRows * kLanes];
  Pooler<kPlanes> poolers[3];
  put_image<kPlanes>(s, p.image, p.scratch);
  Tiles tiles(s.columns());
  correlate<kPlanes>(
      tiles, s, {.in = c.in, .out = c.out, .padded = p.scratch, .weights = p.weights},
      [&](auto rows, const BlockPlace& at) {
        for (Pooler<kPlanes>& pooler : poolers) pooler.finish();
        each<rows>([&](auto y) { tiles.store<y>(sums + y * s.columns() * kLanes, kTileBytes); });
        for (std::int64_t row = 0; row < rows; row += 2) {
          const std::ptrdiff_t to = ((at.y + row) / 2 * (c.width / 2) + at.x / 2) * c.out + at.channel;
          poolers[row / 2].start({sums + row * s.columns() * kLanes,
                                  s.columns(),
                                  p.biases + at.channel,
                                  {p.pooled.values + to, p.pooled.choices + to},
                                  c.out});
        }
      },
      [&] {
        poolers[0].step();
        poolers[1].step();
        poolers[2].step();
      });
  for (Pooler<kPlanes>& pooler : poolers) pooler.finish();
}

void convolution_forward(const TileConvolutionForward& p) {
  p.shape.planes == kRounded ? forward<kRounded>(p) : forward<kNearlyFloat>(p);
}

// ---- Backward pass ----

// The gradient of the weights is the product of dy^T [out, pixels] and the image's pixels [pixels, in], shifted by each
// tap. As the right factor is stored in pairs of pixels, an even shift is a number of whole rows; for odd ones there is
// a second copy whose pairs begin one pixel later. All loads of tiles are then contiguous.

// The pairs of pixels of one strip of 16 channels, one plane and one phase: [pairs()][16 channels][2].
struct PairsPlace {
  const TileConvolution& s;
  std::int64_t size() const { return s.pairs() * kTileDepth; }
  std::int64_t at(std::int64_t channel, std::int64_t plane, std::int64_t phase) const {
    return ((channel / kTileRows * s.planes + plane) * 2 + phase) * size();
  }
};

template <int kPlane>
inline void put_pairs(const TileConvolution& s, const float* image, Bf16* to) {
  const ConvolutionShape& c = s.convolution;
  const PairsPlace place{s};
  // If the border's width is odd, it is the second phase whose pairs are an even pixel and the next odd one.
  const std::int64_t left = c.window_width / 2, phase = left % 2;
  for (std::int64_t channel = 0; channel < c.in; channel += kTileRows) {
    for (std::int64_t y = 0; y < c.height; ++y) {
      const float* from = image + y * c.width * c.in + channel;
      const std::ptrdiff_t first = (y + c.window_height / 2) * s.pitch() + left;
      Bf16* same = to + place.at(channel, kPlane, phase) + (first - phase) / 2 * kTileDepth;
      Bf16* other = to + place.at(channel, kPlane, 1 - phase) + (first + phase - 2) / 2 * kTileDepth;
      HalfVec before = {};  // in its second half, the pixel before
      for (std::int64_t x = 0; x < c.width; x += 2, from += 2 * c.in, same += kTileDepth, other += kTileDepth) {
        const HalfVec both = halves_of<kPlane>(load(from), load(from + c.in));
        store(same, paired(both));
        if (left > 0) store(other, paired_across(before, both));
        before = both;
      }
      if (left > 0) store(other, paired_across(before, HalfVec{}));
    }
  }
}

// Stores the rounded gradient of the sums as a left factor [out, line_size()] and, unless it is null, as padded images.
template <int kPlanes>
inline void put_gradient(const TileConvolutionBackward& p, Bf16* line, Bf16* tiles, Bf16* padded) {
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  const std::ptrdiff_t row = s.padded_width() * kTileDepth, plane_size = s.line_size() * kTileRows;
  for (std::int64_t channel = 0; channel < c.out; channel += kTileRows) {
    Vec bias = load(p.bias_sums + channel);
    // If there is no padded image, nothing is stored in these frames.
    Bf16* const frames =
        (padded != nullptr ? padded : line) + channel / kTileDepth * kPlanes * s.padded_size() + channel % kTileDepth;
    for (std::int64_t y = 0; y < c.height; y += 2) {
      std::ptrdiff_t from = y / 2 * (c.width / 2) * c.out + channel;
      Bf16* upper = line + y * s.pitch() * kTileRows;
      Bf16* frame = frames + (y + c.window_height / 2) * row + c.window_width / 2 * kTileDepth;
      for (std::int64_t x = 0; x < c.width; x += 2, from += c.out, upper += kTileDepth, frame += 2 * kTileDepth) {
        const Vec gradient = load(p.gradient.values + from);
        PooledVec plane = rounded_gradient(gradient, load_bytes(p.gradient.choices + from));
        bias += bias_gradient<kPlanes>(gradient, plane);
        for (int i = 0; i < kPlanes; ++i) {
          if (i == 1) plane = remainder(gradient, plane);
          store(upper + i * plane_size, plane.pair(0));
          store(upper + i * plane_size + s.pitch() * kTileRows, plane.pair(2));
          if (padded == nullptr) continue;
          Bf16* const pixel = frame + i * s.padded_size();
          store(pixel, plane.pixel(0));
          store(pixel + kTileDepth, plane.pixel(1));
          store(pixel + row, plane.pixel(2));
          store(pixel + row + kTileDepth, plane.pixel(3));
        }
      }
    }
    store(p.bias_sums + channel, bias);
    for (int i = 0; i < kPlanes; ++i) {
      for (std::int64_t at = 0; at < plane_size; at += kTileSize, tiles += kTileSize) {
        PairVec lines[kTileRows];
#pragma GCC unroll 16
        for (int pair = 0; pair < kTileRows; ++pair) {
          lines[pair] = load_pairs(line + i * plane_size + at + pair * kTileDepth);
        }
        transpose_lines(lines);
#pragma GCC unroll 16
        for (int out = 0; out < kTileRows; ++out) store(tiles + out * kTileDepth, lines[out]);
      }
    }
  }
}

struct TapOperands {
  const Bf16 *left, *right;                           // the tiles of the first pixels
  std::ptrdiff_t left_plane, right_plane, right_row;  // between two planes; between two rows of taps
};
// Adds the gradient of kCount taps, below each other, for 16 output and 16 input channels. Limit: the products, 16
// cycles each, if the operands are in the L1 cache.
template <int kCount, int kPlanes>
inline void add_taps(Tiles& tiles, std::int64_t line_size, const TapOperands& o, float* sums, std::int64_t sums_row) {
  each<kCount>([&](auto tap) { tiles.load<tap>(sums + tap * sums_row, kTileBytes); });
  for (std::ptrdiff_t at = 0; at < line_size * kTileRows; at += kTileSize) {
    tiles.load<5>(o.left + at, kTileBytes);
    if constexpr (kPlanes == kNearlyFloat) tiles.load<6>(o.left + o.left_plane + at, kTileBytes);
    each<kCount>([&](auto tap) {
      const Bf16* const right = o.right + tap * o.right_row + at;
      tiles.load<kWholeTile>(right, kTileBytes);
      tiles.multiply<tap, 5, kWholeTile>();
      if constexpr (kPlanes == kNearlyFloat) {
        tiles.multiply<tap, 6, kWholeTile>();
        tiles.load<kWholeTile>(right + o.right_plane, kTileBytes);
        tiles.multiply<tap, 5, kWholeTile>();
      }
    });
  }
  each<kCount>([&](auto tap) { tiles.store<tap>(sums + tap * sums_row, kTileBytes); });
}

// The sums pass through the tiles once for each image: 200 KiB in mnist_cnn, from the L2 cache. Fewer passes, over
// several images at a time, would move the operands out of the L1 cache instead.
template <int kPlanes>
inline void add_weight_gradient(const TileConvolutionBackward& p, const Bf16* pairs, const Bf16* gradient) {
  constexpr std::int64_t kSum = kTileRows * kLanes;
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  const PairsPlace place{s};
  Tiles tiles;
  for (std::int64_t in = 0; in < c.in; in += kTileRows) {
    for (std::int64_t phase = 0; phase < 2; ++phase) {
      for (std::int64_t out = 0; out < c.out; out += kTileRows) {
        const Bf16* const left = gradient + out * s.line_size() * kPlanes;
        float* const sums = p.weight_sums + (in / kTileRows * c.out / kTileRows + out / kTileRows) * s.taps() * kSum;
        for (std::int64_t column = phase; column < c.window_width; column += 2) {
          const Bf16* const right = pairs + place.at(in, 0, phase) + column / 2 * kTileDepth;
          for (std::int64_t row = 0; row < c.window_height; row += 5) {
            const std::ptrdiff_t right_row = s.pitch() / 2 * kTileDepth;
            const TapOperands operands{left, right + row * right_row, s.line_size() * kTileRows, 2 * place.size(),
                                       right_row};
            const auto add = [&](auto count) {
              add_taps<count, kPlanes>(tiles, s.line_size(), operands, sums + (row * c.window_width + column) * kSum,
                                       c.window_width * kSum);
            };
            switch (c.window_height - row) {
              case 1:
                add(std::integral_constant<int, 1>{});
                break;
              case 2:
                add(std::integral_constant<int, 2>{});
                break;
              case 3:
                add(std::integral_constant<int, 3>{});
                break;
              case 4:
                add(std::integral_constant<int, 4>{});
                break;
              default:
                add(std::integral_constant<int, 5>{});
            }
          }
        }
      }
    }
  }
}

template <int kPlanes>
inline void backward(const TileConvolutionBackward& p) {
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  Bf16* const pairs = p.scratch;
  Bf16* const padded = pairs + s.pairs_size();
  Bf16* const line = padded + s.padded_gradient_size();
  Bf16* const gradient = line + kTileRows * s.line_size() * kPlanes;
  put_pairs<0>(s, p.image, pairs);
  if constexpr (kPlanes == kNearlyFloat) put_pairs<1>(s, p.image, pairs);
  put_gradient<kPlanes>(p, line, gradient, p.image_gradient != nullptr ? padded : nullptr);
  add_weight_gradient<kPlanes>(p, pairs, gradient);
  if (p.image_gradient == nullptr) return;
  Tiles tiles(s.columns());
  correlate<kPlanes>(
      tiles, s, {.in = c.out, .out = c.in, .padded = padded, .weights = p.weights},
      [&](auto rows, const BlockPlace& at) {
        each<rows>([&](auto y) {
          tiles.store<y>(p.image_gradient + ((at.y + y) * c.width + at.x) * c.in + at.channel,
                         c.in * static_cast<std::ptrdiff_t>(sizeof(float)));
        });
      },
      [] {});
}

void convolution_backward(const TileConvolutionBackward& p) {
  p.shape.planes == kRounded ? backward<kRounded>(p) : backward<kNearlyFloat>(p);
}
