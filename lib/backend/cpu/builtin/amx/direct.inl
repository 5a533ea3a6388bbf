// Convolutions for one input channel. The depth is the window itself: the pixels of each column are stored as a stack,
// column after column, so that the window of each output is contiguous and starts one stack after that of its left
// neighbour. The rows of a left factor's tile therefore overlap in memory, and nothing is copied per tap. A stack is
// one pixel higher than the window, because the window of the row below starts one pixel later.

template <int kPlanes>
inline void put_pixels(const TileDirect& s, const float* image, Bf16* padded) {
  const ConvolutionShape& c = s.convolution;
  for (std::int64_t y = 0; y < c.height; ++y) {
    Bf16* const to = padded + (y + c.window_height / 2) * s.padded_width() + c.window_width / 2;
    put_row<0>(image + y * c.width, c.width, to);
    if constexpr (kPlanes == kNearlyFloat) put_row<1>(image + y * c.width, c.width, to + s.padded_size());
  }
}

inline void put_stacks(const TileDirect& s, const Bf16* rows, Bf16* stacks) {
  const std::int64_t width = s.padded_width();
  for (std::int64_t x = 0; x < width; ++x) {
    for (std::int64_t i = 0; i < s.stack(); ++i) stacks[x * s.stack() + i] = rows[i * width + x];
  }
}

// Limit: pooling. A block of pixels of two rows and 32 channels takes four products, or twelve with two planes.
template <int kPlanes>
inline void forward(const TileDirectForward& p) {
  const TileDirect& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  const std::int64_t columns = s.columns();
  const std::ptrdiff_t strip = 2 * columns * kLanes;  // sums of two rows and 16 channels
  alignas(64) float sums[2 * 2 * kTileRows * kLanes];
  Bf16* const padded = p.scratch;
  Bf16* const stacks = padded + kPlanes * s.padded_size();
  const std::ptrdiff_t stack_bytes = s.stack() * static_cast<std::ptrdiff_t>(sizeof(Bf16));
  Pooler<kPlanes> poolers[2];
  put_pixels<kPlanes>(s, p.image, padded);
  Tiles tiles(columns);
  const auto multiply = [&](const Bf16* left, const Bf16* right) {
    tiles.load<4>(left, stack_bytes);
    tiles.load<5>(left + 1, stack_bytes);
    tiles.load<kWholeTile>(right, kTileBytes);
    tiles.multiply<0, 4, kWholeTile>();
    tiles.multiply<1, 5, kWholeTile>();
    tiles.load<kWholeTile>(right + kPlanes * kTileSize, kTileBytes);
    tiles.multiply<2, 4, kWholeTile>();
    tiles.multiply<3, 5, kWholeTile>();
  };
  for (std::int64_t y = 0; y < c.height; y += 2) {
    for (int plane = 0; plane < kPlanes; ++plane) {
      put_stacks(s, padded + plane * s.padded_size() + y * s.padded_width(), stacks + plane * s.stacks_size());
    }
    for (std::int64_t channel = 0; channel < c.out; channel += kBlockSide) {
      const Bf16* const right = p.weights + channel * kTileDepth * kPlanes;
      for (std::int64_t block = 0; block < c.width; block += columns) {
        const std::int64_t x = block + columns <= c.width ? block : c.width - columns;
        const Bf16* const left = stacks + x * s.stack();
        each<4>([&](auto tile) { tiles.zero<tile>(); });
        multiply(left, right);
        if constexpr (kPlanes == kNearlyFloat) {
          multiply(left + s.stacks_size(), right);
          multiply(left, right + kTileSize);
        }
        for (Pooler<kPlanes>& pooler : poolers) pooler.finish();
        each<4>([&](auto tile) { tiles.store<tile>(sums + tile * columns * kLanes, kTileBytes); });
        for (int half = 0; half < 2; ++half) {
          const std::ptrdiff_t to = (y / 2 * (c.width / 2) + x / 2) * c.out + channel + half * kLanes;
          poolers[half].start({sums + half * strip,
                               columns,
                               p.biases + channel + half * kLanes,
                               {p.pooled.values + to, p.pooled.choices + to},
                               c.out});
        }
      }
    }
  }
  for (Pooler<kPlanes>& pooler : poolers) pooler.finish();
}

void direct_forward(const TileDirectForward& p) {
  p.shape.planes == kRounded ? forward<kRounded>(p) : forward<kNearlyFloat>(p);
}

// Stores 32 pixels from each column of the window on, for every row: [32 columns' block][row][window_width][32]. The
// left factor [taps, pixels] of a row of outputs is then contiguous and starts at that row.
inline void put_shifted(const TileDirect& s, const Bf16* padded, Bf16* shifted) {
  const ConvolutionShape& c = s.convolution;
  for (std::int64_t x = 0; x < c.width; x += kTileDepth) {
    for (std::int64_t y = 0; y < s.padded_height(); ++y) {
      const Bf16* const from = padded + y * s.padded_width() + x;
      for (std::int64_t i = 0; i < c.window_width; ++i, shifted += kTileDepth) store(shifted, load_halves(from + i));
    }
  }
}

// Limit: the products, 128 cycles for two rows of 32 pixels and 32 channels.
template <int kPlanes>
inline void backward(const TileDirectBackward& p) {
  const TileDirect& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  const std::ptrdiff_t out_row = c.out * static_cast<std::ptrdiff_t>(sizeof(float));
  Bf16* const padded = p.scratch;
  Bf16* const shifted = padded + kPlanes * (s.padded_size() + s.stacks_size());
  Bf16* const gradient = shifted + kPlanes * s.shifted_size();  // [plane][block of columns][row][strip]
  put_pixels<kPlanes>(s, p.image, padded);
  for (int plane = 0; plane < kPlanes; ++plane) {
    put_shifted(s, padded + plane * s.padded_size(), shifted + plane * s.shifted_size());
  }
  Tiles tiles;
  const auto multiply = [&](const Bf16* left, const Bf16* right) {
    tiles.load<4>(left, kTileBytes);
    tiles.load<5>(left + kTileSize, kTileBytes);
    tiles.load<6>(right, kTileBytes);
    tiles.multiply<0, 4, 6>();
    tiles.multiply<2, 5, 6>();
    tiles.load<kWholeTile>(right + kTileSize, kTileBytes);
    tiles.multiply<1, 4, kWholeTile>();
    tiles.multiply<3, 5, kWholeTile>();
  };
  for (std::int64_t channel = 0; channel < c.out; channel += kBlockSide) {
    float* const sums = p.weight_sums + channel;
    each<4>([&](auto tile) { tiles.load<tile>(sums + tile / 2 * kTileRows * c.out + tile % 2 * kTileRows, out_row); });
    Vec biases[2] = {load(p.bias_sums + channel), load(p.bias_sums + channel + kLanes)};
    for (std::int64_t y = 0; y < c.height; y += 2) {
      for (std::int64_t x = 0; x < c.width; x += 2) {
        const std::ptrdiff_t from = (y / 2 * (c.width / 2) + x / 2) * c.out + channel;
        Bf16* const to = gradient + x / kTileDepth * 4 * kTileSize + x % kTileDepth * kTileRows;
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          const Vec values = load(p.gradient.values + from + half * kLanes);
          PooledVec plane = rounded_gradient(values, load_bytes(p.gradient.choices + from + half * kLanes));
          biases[half] += bias_gradient<kPlanes>(values, plane);
          for (int i = 0; i < kPlanes; ++i) {
            if (i == 1) plane = remainder(values, plane);
            store(to + i * s.gradient_size() + half * kTileSize, plane.pair(0));
            store(to + i * s.gradient_size() + (2 + half) * kTileSize, plane.pair(2));
          }
        }
      }
      for (std::int64_t block = 0; block < in_blocks(c.width); ++block) {
        for (std::int64_t row = 0; row < 2; ++row) {
          const Bf16* const left = shifted + (block * s.padded_height() + y + row) * c.window_width * kTileDepth;
          const Bf16* const right = gradient + (block * 2 + row) * 2 * kTileSize;
          multiply(left, right);
          if constexpr (kPlanes == kNearlyFloat) {
            multiply(left + s.shifted_size(), right);
            multiply(left, right + s.gradient_size());
          }
        }
      }
    }
    store(p.bias_sums + channel, biases[0]);
    store(p.bias_sums + channel + kLanes, biases[1]);
    each<4>([&](auto tile) { tiles.store<tile>(sums + tile / 2 * kTileRows * c.out + tile % 2 * kTileRows, out_row); });
  }
}

void direct_backward(const TileDirectBackward& p) {
  p.shape.planes == kRounded ? backward<kRounded>(p) : backward<kNearlyFloat>(p);
}
