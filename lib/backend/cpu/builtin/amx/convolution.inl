// Convolutions for channels in multiples of kBlockSide. In the forward pass and for the gradient of the image, a block
// is 16 pixels of two adjacent rows times 32 channels, and its left factors are read in place from the padded image:
// the rows of a tile are adjacent pixels, its depth is 32 channels of one tap.

// Rounds an image into its frame of zeros.
inline void put_image(const TileConvolution& s, const float* image, std::int64_t channels, Bf16* padded) {
  const ConvolutionShape& c = s.convolution;
  for (std::int64_t y = 0; y < c.height; ++y) {
    Bf16* const to = padded + ((y + c.window_height / 2) * s.padded_width() + c.window_width / 2) * channels;
    const float* const from = image + y * c.width * channels;
    for (std::int64_t i = 0; i < c.width * channels; ++i) to[i] = rounded(from[i]);
  }
}

// The operands of a sum over all taps and input channels.
struct Correlation {
  std::int64_t in, out;  // channels
  const Bf16* padded;    // the image [padded_height(), padded_width(), in]
  const Bf16* weights;   // a right factor [taps * in, out]
};

// Sums block by block: finish(y, x, channel, sums) gets [2 rows, 16 pixels, 32 channels], where pixels after the
// image's last column are undefined. Bound: the products of a tap, 64 cycles for 32 channels of a block, with 4 KiB of
// loads; half of these, the weights, come from the L2 cache.
template <typename Finish>
inline void correlate(Tiles& tiles, const TileConvolution& s, const Correlation& operands, const Finish& finish) {
  const std::int64_t in = operands.in, out = operands.out;
  const Bf16 *const padded = operands.padded, *const weights = operands.weights;
  alignas(64) float sums[kBlockSide * kBlockSide];
  const ConvolutionShape& c = s.convolution;
  const std::int64_t strip_size = s.taps() * in / kTileDepth;
  const std::ptrdiff_t row = s.padded_width() * in;
  for (std::int64_t channel = 0; channel < out; channel += kBlockSide) {
    const Bf16* const strip = weights + channel / kTileRows * strip_size * kTileSize;
    for (std::int64_t y = 0; y < c.height; y += 2) {
      for (std::int64_t x = 0; x < c.width; x += kTileRows) {
        zero_block(tiles);
        const Bf16* right = strip;
        for (std::int64_t tap = 0; tap < s.taps(); ++tap) {
          const Bf16* left = padded + (y + tap / c.window_width) * row + (x + tap % c.window_width) * in;
          for (std::int64_t depth = 0; depth < in; depth += kTileDepth) {
            multiply_block(tiles, {left, left + row, in * static_cast<std::ptrdiff_t>(sizeof(Bf16))},
                           {right, right + strip_size * kTileSize});
            left += kTileDepth;
            right += kTileSize;
          }
        }
        store_block(tiles, sums, kBlockSide);
        finish(y, x, channel, sums);
      }
    }
  }
}

void convolution_forward(const TileConvolutionForward& p) {
  const ConvolutionShape& c = p.shape.convolution;
  Tiles tiles;
  put_image(p.shape, p.image, c.in, p.scratch);
  correlate(tiles, p.shape, {.in = c.in, .out = c.out, .padded = p.scratch, .weights = p.weights},
            [&](std::int64_t y, std::int64_t x, std::int64_t channel, const float* sums) {
              const std::int64_t columns = c.width - x < kTileRows ? c.width - x : kTileRows;
              const std::ptrdiff_t at = (y / 2 * (c.width / 2) + x / 2) * c.out + channel;
              pool_block(sums, p.biases + channel, {{p.pooled.values + at, p.pooled.choices + at}, columns / 2, c.out});
            });
}

// ---- Backward pass ----

// Converts [pixels, channels] to planes of channels, [channels][plane_size()], with rows pitch() apart. Works in
// blocks, so that both sides stay in the L1 cache.
inline void put_planes(const TileConvolution& s, const float* image, Bf16* planes) {
  const ConvolutionShape& c = s.convolution;
  Block block, transposed;
  for (std::int64_t y = 0; y < c.height; ++y) {
    Bf16* const row = planes + (y + c.window_height / 2) * s.pitch() + c.window_width / 2;
    for (std::int64_t x = 0; x < c.width; x += kBlockSide) {
      const std::int64_t columns = c.width - x < kBlockSide ? c.width - x : kBlockSide;
      for (std::int64_t channel = 0; channel < c.in; channel += kBlockSide) {
        take_block<rounded>({image + (y * c.width + x) * c.in + channel, c.in, columns, kBlockSide}, block);
        transpose_block(block, transposed);
        for (std::int64_t i = 0; i < kBlockSide; ++i) {
          __builtin_memcpy(row + (channel + i) * s.plane_size() + x, transposed[i],
                           static_cast<std::size_t>(columns) * sizeof(Bf16));
        }
      }
    }
  }
}

// Stores the gradient of the sums as a right factor [line_size(), out] and, unless it is null, as a padded image.
inline void put_gradient(const TileConvolutionBackward& p, Bf16* line, Bf16* padded) {
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  const std::ptrdiff_t row = s.padded_width() * c.out;
  for (std::int64_t y = 0; y < c.height; y += 2) {
    for (std::int64_t x = 0; x < c.width; x += 2) {
      const std::ptrdiff_t from = (y / 2 * (c.width / 2) + x / 2) * c.out;
      const std::ptrdiff_t to = (y + c.window_height / 2) * row + (x + c.window_width / 2) * c.out;
      for (std::int64_t channel = 0; channel < c.out; channel += kTileRows) {
        Window window;
        unpool(p.gradient.values + from + channel, p.gradient.choices + from + channel, window, p.bias_sums + channel);
        // Pitches and columns are even, so a pair of pixels is also a pair in the factor.
        Bf16* const strip = line + channel * s.line_size();
        put_pair(window[0], window[1], strip + (y * s.pitch() + x) * kTileRows);
        put_pair(window[2], window[3], strip + ((y + 1) * s.pitch() + x) * kTileRows);
        if (padded == nullptr) continue;
        for (int i = 0; i < 4; ++i) {
          __builtin_memcpy(padded + to + i / 2 * row + i % 2 * c.out + channel, window[i], sizeof window[i]);
        }
      }
    }
  }
}

// Adds the product of the input planes, shifted by each tap, and the gradient. Bound: the products, 64 cycles for 4 KiB
// of loads. Shifted rows of a tile mostly cross cache lines, so they take 32 of the 48 load cycles. The sums are loaded
// into the tiles and stored once per image.
inline void add_weight_gradient(Tiles& tiles, const TileConvolutionBackward& p, const Bf16* planes, const Bf16* line) {
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  float* const weight_sums = p.weight_sums;
  const std::ptrdiff_t plane_bytes = s.plane_size() * static_cast<std::ptrdiff_t>(sizeof(Bf16));
  for (std::int64_t out = 0; out < c.out; out += kBlockSide) {
    const Bf16* const right = line + out * s.line_size();
    for (std::int64_t in = 0; in < c.in; in += kBlockSide) {
      for (std::int64_t tap = 0; tap < s.taps(); ++tap) {
        float* const sums = weight_sums + (tap * c.in + in) * c.out + out;
        const Bf16* const left = planes + in * s.plane_size() + tap / c.window_width * s.pitch() + tap % c.window_width;
        load_block(tiles, sums, c.out);
        for (std::int64_t pixel = 0; pixel < s.line_size(); pixel += kTileDepth) {
          const Bf16* const tile = right + pixel * kTileRows;
          multiply_block(tiles, {left + pixel, left + kTileRows * s.plane_size() + pixel, plane_bytes},
                         {tile, tile + kTileRows * s.line_size()});
        }
        store_block(tiles, sums, c.out);
      }
    }
  }
}

void convolution_backward(const TileConvolutionBackward& p) {
  const TileConvolution& s = p.shape;
  const ConvolutionShape& c = s.convolution;
  Bf16* const planes = p.scratch;
  Bf16* const line = planes + c.in * s.plane_size();
  Bf16* const padded = line + c.out * s.line_size();
  Tiles tiles;
  put_planes(s, p.image, planes);
  put_gradient(p, line, p.image_gradient != nullptr ? padded : nullptr);
  add_weight_gradient(tiles, p, planes, line);
  if (p.image_gradient == nullptr) return;
  correlate(tiles, s, {.in = c.out, .out = c.in, .padded = padded, .weights = p.weights},
            [&](std::int64_t y, std::int64_t x, std::int64_t channel, const float* sums) {
              const std::int64_t columns = c.width - x < kTileRows ? c.width - x : kTileRows;
              for (std::int64_t row = 0; row < 2; ++row) {
                float* to = p.image_gradient + ((y + row) * c.width + x) * c.in + channel;
                for (std::int64_t i = 0; i < columns; ++i, to += c.in) {
                  __builtin_memcpy(to, sums + (row * kTileRows + i) * kBlockSide, kBlockSide * sizeof(float));
                }
              }
            });
}
