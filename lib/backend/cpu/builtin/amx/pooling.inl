// Shared by the convolutions: bias, ReLU and max-pool of a finished block, and the backward pass.

// `count` adjacent pixels of a pooled image, for kBlockSide of its channels. The pointers are those of the first
// number.
struct PooledPixels {
  Pooled pooled;
  std::int64_t count;
  std::ptrdiff_t to_pixel;  // numbers between two pixels
};

// Pools the sums of two rows of 16 pixels, [2, 16, kBlockSide] channels: the largest of each window, the first one on a
// tie. Bound: 4 KiB of reads from the L1 cache and one comparison per number.
inline void pool_block(const float* sums, const float* biases, const PooledPixels& to) {
  float* const values = to.pooled.values;
  std::uint8_t* const choices = to.pooled.choices;
  const std::ptrdiff_t to_pixel = to.to_pixel;
  const std::int64_t count = to.count;
  for (std::int64_t pixel = 0; pixel < count; ++pixel) {
    const float* const upper = sums + 2 * pixel * kBlockSide;
    const float* const lower = upper + kTileRows * kBlockSide;
    float best[kBlockSide];
    std::int32_t chosen[kBlockSide];
    for (std::int64_t c = 0; c < kBlockSide; ++c) {
      const float right = upper[kBlockSide + c], below = lower[c], last = lower[kBlockSide + c];
      float largest = upper[c];
      std::int32_t choice = right > largest ? 1 : 0;
      largest = right > largest ? right : largest;
      choice = below > largest ? 2 : choice;
      largest = below > largest ? below : largest;
      choice = last > largest ? 3 : choice;
      largest = last > largest ? last : largest;
      largest += biases[c];
      const bool stopped = largest <= 0.0f;  // false for NaN
      best[c] = stopped ? 0.0f : largest;
      chosen[c] = stopped ? kNoneChosen : choice;
    }
    for (std::int64_t c = 0; c < kBlockSide; ++c) values[pixel * to_pixel + c] = as_float(rounded(best[c]));
    for (std::int64_t c = 0; c < kBlockSide; ++c) {
      choices[pixel * to_pixel + c] = static_cast<std::uint8_t>(chosen[c]);
    }
  }
}

// The rounded gradients of a window's four pixels, for as many channels as a tile has columns. Adds to the gradients of
// the biases.
using Window = Bf16[4][kTileRows];
inline void unpool(const float* values, const std::uint8_t* choices, Window& window, float* bias_sums) {
  Bf16 gradient[kTileRows];
  for (std::int64_t c = 0; c < kTileRows; ++c) gradient[c] = rounded(values[c]);
  for (int i = 0; i < 4; ++i) {
    for (std::int64_t c = 0; c < kTileRows; ++c) window[i][c] = choices[c] == i ? gradient[c] : Bf16{0};
  }
  for (std::int64_t c = 0; c < kTileRows; ++c) {
    bias_sums[c] += choices[c] == kNoneChosen ? 0.0f : as_float(gradient[c]);
  }
}

// A row of a right factor's tile: two adjacent pixels, interleaved.
inline void put_pair(const Bf16* even, const Bf16* odd, Bf16* to) {
  for (std::int64_t c = 0; c < kTileRows; ++c) {
    to[2 * c] = even[c];
    to[2 * c + 1] = odd[c];
  }
}
