// Convolutions for one input channel. The depth is the window itself: the pixels of each column are stored as a stack,
// column after column, so that the window of each output is contiguous and starts one stack after that of its left
// neighbour. The rows of a left factor's tile therefore overlap in memory, and nothing is copied per tap. A stack is
// one pixel higher than the window, because the window of the row below starts one pixel later.

inline void put_pixels(const TileDirect& s, const float* image, Bf16* padded) {
  const ConvolutionShape& c = s.convolution;
  for (std::int64_t y = 0; y < c.height; ++y) {
    Bf16* const to = padded + (y + c.window_height / 2) * s.padded_width() + c.window_width / 2;
    for (std::int64_t x = 0; x < c.width; ++x) to[x] = rounded(image[y * c.width + x]);
  }
}

// Bound: a block of 16 pixels of two rows needs one product of 64 cycles for 32 channels, less than its pooling.
void direct_forward(const TileDirectForward& p) {
  const TileDirect& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  alignas(64) float sums[kBlockSide * kBlockSide];
  Bf16* const padded = p.scratch;
  Bf16* const stacks = padded + s.padded_size();
  const std::ptrdiff_t stack_bytes = s.stack() * static_cast<std::ptrdiff_t>(sizeof(Bf16));
  Tiles tiles;
  put_pixels(s, p.image, padded);
  for (std::int64_t y = 0; y < c.height; y += 2) {
    for (std::int64_t i = 0; i < s.stack(); ++i) {
      const Bf16* const row = padded + (y + i) * s.padded_width();
      for (std::int64_t x = 0; x < s.padded_width(); ++x) stacks[x * s.stack() + i] = row[x];
    }
    for (std::int64_t channel = 0; channel < c.out; channel += kBlockSide) {
      const Bf16* const right = p.weights + channel * kTileDepth;
      for (std::int64_t x = 0; x < c.width; x += kTileRows) {
        const Bf16* const left = stacks + x * s.stack();
        zero_block(tiles);
        multiply_block(tiles, {left, left + 1, stack_bytes}, {right, right + kTileSize});
        store_block(tiles, sums, kBlockSide);
        const std::int64_t columns = c.width - x < kTileRows ? c.width - x : kTileRows;
        const std::ptrdiff_t at = (y / 2 * (c.width / 2) + x / 2) * c.out + channel;
        pool_block(sums, p.biases + channel, {{p.pooled.values + at, p.pooled.choices + at}, columns / 2, c.out});
      }
    }
  }
}

// Stores two rows of 32 pixels as left factors [taps, pixels], shifted by each tap.
inline void put_taps(const TileDirect& s, const Bf16* corner, Bf16* taps) {
  const ConvolutionShape& c = s.convolution;
  for (std::int64_t row = 0; row < 2; ++row, taps += kBlockSide * kTileDepth) {
    for (std::int64_t tap = 0; tap < c.window_height * c.window_width; ++tap) {
      const Bf16* const from = corner + (row + tap / c.window_width) * s.padded_width() + tap % c.window_width;
      __builtin_memcpy(taps + tap * kTileDepth, from, kTileBytes);
    }
  }
}

// Two rows of 32 pixels and 32 channels, from these on.
struct PixelBlock {
  std::int64_t y, x, channel;
};

// Stores the gradient of a block as right factors [pixels, channels]: [2 rows, 2 tiles].
inline void put_gradient(const TileDirectBackward& p, const PixelBlock& block, Bf16* gradient) {
  const ConvolutionShape& c = p.shape.convolution;
  const std::int64_t y = block.y, left = block.x, channel = block.channel;
  for (std::int64_t x = left; x < left + kTileDepth; x += 2) {
    const std::ptrdiff_t from = (y / 2 * (c.width / 2) + x / 2) * c.out + channel;
    for (std::int64_t tile = 0; tile < 2; ++tile) {
      Window window = {};
      if (x < c.width) {
        const std::ptrdiff_t at = from + tile * kTileRows;
        unpool(p.gradient.values + at, p.gradient.choices + at, window, p.bias_sums + channel + tile * kTileRows);
      }
      Bf16* const to = gradient + tile * kTileSize + (x - left) * kTileRows;
      put_pair(window[0], window[1], to);
      put_pair(window[2], window[3], to + 2 * kTileSize);
    }
  }
}

// Bound: the copies for all taps, one vector each, and the expansion of the gradient; the products take 128 cycles for
// two rows of 32 pixels and 32 channels.
void direct_backward(const TileDirectBackward& p) {
  const TileDirect& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  Bf16* const padded = p.scratch;
  Bf16* const taps = padded + s.padded_size() + s.stacks_size();
  Bf16* const gradient = taps + TileDirect::kTapsSize;
  Tiles tiles;
  put_pixels(s, p.image, padded);
  for (std::int64_t channel = 0; channel < c.out; channel += kBlockSide) {
    load_block(tiles, p.weight_sums + channel, c.out);
    for (std::int64_t y = 0; y < c.height; y += 2) {
      for (std::int64_t x = 0; x < c.width; x += kTileDepth) {
        put_taps(s, padded + y * s.padded_width() + x, taps);
        put_gradient(p, {y, x, channel}, gradient);
        for (std::int64_t row = 0; row < 2; ++row) {
          const Bf16* const left = taps + row * kBlockSide * kTileDepth;
          const Bf16* const right = gradient + row * 2 * kTileSize;
          multiply_block(tiles, {left, left + kTileSize, kTileBytes}, {right, right + kTileSize});
        }
      }
    }
    store_block(tiles, p.weight_sums + channel, c.out);
  }
}
