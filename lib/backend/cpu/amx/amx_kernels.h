// Our own kernels in AMX's tiles: products of bfloat16 with sums of float32. The same source twice, see tiles.h. All
// work on one thread; who shares the work among threads calls them with parts of it. They take floats, round them to
// bfloat16 (to nearest, ties to even) and return floats.
//
// The limit of each is the product of two tiles: 16 x 16 x 32 multiply-adds in 16 cycles, 512 a cycle and core. A block
// of 2 x 2 tiles, what all of them are made of, takes 4 loads of 8 cycles for 4 products of 16, so that loads from
// the first-level cache hide behind the products.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/backend/cpu/amx/tiles.h"
#include "lib/backend/cpu/vector/vector_kernels.h"

namespace distmnist::cpu {

// Sides of the block of 2 x 2 tiles, and depth of a tile: what factors are padded to, with zeros.
inline constexpr std::int64_t kBlockSide = 32;
inline constexpr std::int64_t in_blocks(std::int64_t size) {
  return (size + kBlockSide - 1) / kBlockSide;
}
// How a factor holds a number: rounded to bfloat16 (one plane), or as the sum of two bfloat16 (two planes), of which
// the second is what rounding has taken from the first. That sum is off by 2^-16 of the number at most. A product of
// two such sums is three products, for the one of the second planes is no larger than what the sums lack. In the
// quadratic mean it is off by 4e-6. With two planes infinities give NaN.
inline constexpr int kRounded = 1, kNearlyFloat = 2;
// Numbers of a packed factor, whose two sides are `a` and `b` without the padding.
inline constexpr std::int64_t packed_size(std::int64_t a, std::int64_t b, int planes = kRounded) {
  return in_blocks(a) * in_blocks(b) * kBlockSide * kBlockSide * planes;
}

// ---- Matrix products ----

// The factors of a product lie packed in tiles: the left one [m, k] in strips of 16 rows, the right one [k, n] in
// strips of 16 columns. A strip is the tiles of all its depth, one after another; of two planes, in turns.
enum class Factor { kLeft, kRight };

// Packs a matrix of floats, or blocks of a larger one's, as a factor.
struct Packing {
  Factor factor = Factor::kLeft;
  bool transposed = false;  // the matrix is the factor's transposed
  std::int64_t rows = 0, columns = 0;
  const float* from = nullptr;
  std::ptrdiff_t from_row = 0;
  Bf16* to = nullptr;           // the tile of its corner
  std::int64_t strip_size = 0;  // tiles of a strip of the factor
  int planes = kRounded;
};

// Packs a column of blocks of a left factor [rows, ...] anew: as the right factor [rows, 32].
struct Repacking {
  std::int64_t rows = 0;        // a multiple of kBlockSide
  const Bf16* left = nullptr;   // the tile of its corner
  std::int64_t strip_size = 0;  // tiles of a strip of the left factor
  Bf16* right = nullptr;
  int planes = kRounded;
};

// What happens to a finished block of a product: rows [row, row + rows), columns [column, column + columns).
struct BlockDone {
  void (*call)(const void* context, std::int64_t row, std::int64_t rows, std::int64_t column,
               std::int64_t columns) = nullptr;
  const void* context = nullptr;
};

// left [rows, depth] times right [depth, columns], all multiples of kBlockSide. `block` is [kBlockSide, block_columns]
// floats, used again and again: done() is told of each piece of up to so many rows and columns.
inline constexpr std::int64_t kTileProductColumns = 256;  // whose sums stay in the first-level cache
struct TileProduct {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const Bf16* left = nullptr;
  const Bf16* right = nullptr;
  float* block = nullptr;
  std::int64_t block_columns = kTileProductColumns;  // a multiple of kBlockSide
  int planes = kRounded;
  BlockDone done = {};
};

// ---- Convolution, relu and 2x2 max-pool in one ----
// As vector_kernels.h says, for one image. Pooled values are returned rounded, as factors of the next product. A
// scratch is zero when it is made and then left to its kernel, which relies on the zeros of borders that it never
// writes.

// Of channels in multiples of kBlockSide.
struct TileConvolution {
  ConvolutionShape convolution;  // odd windows, an even number of columns

  std::int64_t taps() const { return convolution.window_height * convolution.window_width; }
  // Images are read where they lie, 16 pixels of a row at a time, with borders: [padded_height(), padded_width(),
  // channels].
  std::int64_t padded_height() const { return convolution.height + convolution.window_height - 1; }
  std::int64_t padded_width() const {
    return (convolution.width + kTileRows - 1) / kTileRows * kTileRows + convolution.window_width - 1;
  }
  std::int64_t padded_size(std::int64_t channels) const { return padded_height() * padded_width() * channels; }
  // The gradient of the weights adds up over pixels, in one line, row after row with one border between two: a tap is
  // then one step along the line for all of them.
  std::int64_t pitch() const { return convolution.width + convolution.window_width - 1; }
  std::int64_t line_size() const { return in_blocks(convolution.height * pitch()) * kBlockSide; }
  // Of one input channel, from the first tap's first pixel to the last one's last.
  std::int64_t plane_size() const {
    return line_size() + (convolution.window_height - 1) * pitch() + convolution.window_width - 1;
  }
  std::int64_t forward_scratch_size() const { return padded_size(convolution.in); }
  std::int64_t backward_scratch_size() const {
    return convolution.in * plane_size() + convolution.out * line_size() + padded_size(convolution.out);
  }
};

struct TileConvolutionForward {
  TileConvolution shape;
  const float* image = nullptr;   // [height, width, in]
  const Bf16* weights = nullptr;  // a right factor [taps * in, out], from [taps, in, out]
  const float* biases = nullptr;
  Pooled pooled;
  Bf16* scratch = nullptr;  // [forward_scratch_size()]
};
struct TileConvolutionBackward {
  TileConvolution shape;
  const float* image = nullptr;
  PooledGradient gradient;
  const Bf16* weights = nullptr;    // a right factor [taps * out, in], from [taps in reverse order, out, in]
  float* weight_sums = nullptr;     // [taps, in, out]: the gradient is added
  float* bias_sums = nullptr;       // [out]
  float* image_gradient = nullptr;  // [height, width, in]; null: not wanted
  Bf16* scratch = nullptr;          // [backward_scratch_size()]
};

// Of one input channel.
struct TileDirect {
  ConvolutionShape convolution;  // odd windows

  static constexpr std::int64_t kTapsSize = 2 * kBlockSide * kTileDepth, kGradientSize = 4 * kTileSize;

  // Pixels of a column that are kept together: the windows of two neighbouring rows.
  std::int64_t stack() const { return convolution.window_height + 1; }
  // Whether the window fits in the depth of a tile.
  bool fits() const { return stack() * convolution.window_width <= kTileDepth; }
  std::int64_t padded_width() const { return in_blocks(convolution.width) * kBlockSide + convolution.window_width - 1; }
  std::int64_t padded_size() const { return (convolution.height + convolution.window_height - 1) * padded_width(); }
  std::int64_t stacks_size() const { return padded_width() * stack() + kTileDepth; }
  std::int64_t scratch_size() const { return padded_size() + stacks_size() + kTapsSize + kGradientSize; }
};

struct TileDirectForward {
  TileDirect shape;
  const float* image = nullptr;   // [height, width]
  const Bf16* weights = nullptr;  // a right factor [kTileDepth, out], from [window_width, stack, out], zeros in between
  const float* biases = nullptr;
  Pooled pooled;
  Bf16* scratch = nullptr;  // [scratch_size()]
};
struct TileDirectBackward {
  TileDirect shape;
  const float* image = nullptr;
  PooledGradient gradient;
  float* weight_sums = nullptr;  // [kBlockSide, out]: the gradient, [window_height, window_width, out], is added
  float* bias_sums = nullptr;    // [out]
  Bf16* scratch = nullptr;       // [scratch_size()]
};

struct AmxKernels {
  void (*pack)(const Packing&);
  void (*repack)(const Repacking&);
  void (*tile_product)(const TileProduct&);
  void (*convolution_forward)(const TileConvolutionForward&);
  void (*convolution_backward)(const TileConvolutionBackward&);
  void (*direct_forward)(const TileDirectForward&);
  void (*direct_backward)(const TileDirectBackward&);
};

// For processors that have AMX.
const AmxKernels& amx_kernels();
// For tests, on every machine: to the bit the same, and slow. In a library of its own, which the program has not.
const AmxKernels& emulated_amx_kernels();

}  // namespace distmnist::cpu
