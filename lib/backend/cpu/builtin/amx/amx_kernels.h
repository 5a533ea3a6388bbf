// AMX kernels: bfloat16 products with float32 sums, in AMX tiles. The same source is compiled twice, see tiles.h. All
// kernels run on one thread; callers that use several threads pass each one a part of the work. They round floats to
// bfloat16 (to nearest, ties to even; denormals become zero) and return floats.
//
// Limits, in cycles measured on a Sapphire Rapids processor: a product of two tiles takes 16 (16 x 16 x 32
// multiply-adds, 512 per cycle and core), a tile load from the L1 cache 9 if its rows are whole cache lines and 50 if
// they cross them, one from the L2 cache 24, a store 16. Loads and products overlap. All factors are therefore stored
// in tiles, and several products share each load. Working on random numbers is a fifth slower than on zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/backend/cpu/builtin/amx/tiles.h"
#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

namespace distmnist::cpu {

// The side of a block of 2 x 2 tiles, and the depth of a tile. Factors are padded to multiples of it with zeros.
inline constexpr std::int64_t kBlockSide = 32;
inline constexpr std::int64_t in_blocks(std::int64_t size) {
  return (size + kBlockSide - 1) / kBlockSide;
}
// How a factor stores a number: rounded to bfloat16 (one plane), or as the sum of two bfloat16 (two planes), where the
// second is the rounding error of the first. The error of that sum is at most 2^-16 of the number. A product of two
// such sums takes three products, because the product of the second planes is no larger than the error of the sums. Its
// root mean square error is 4e-6. With two planes, infinities become NaN.
inline constexpr int kRounded = 1, kNearlyFloat = 2;
// The number of values in a packed factor whose sides are `a` and `b` before padding.
inline constexpr std::int64_t packed_size(std::int64_t a, std::int64_t b, int planes = kRounded) {
  return in_blocks(a) * in_blocks(b) * kBlockSide * kBlockSide * planes;
}

// ---- Matrix products ----

// The factors of a product are packed in tiles: the left one [m, k] in strips of 16 rows, the right one [k, n] in
// strips of 16 columns. A strip consists of the tiles for the whole depth in order; with two planes, they alternate.
enum class Factor { kLeft, kRight };

// Packs a float matrix, or blocks of a larger one, as a factor; what is missing to whole blocks becomes zero.
struct Packing {
  Factor factor = Factor::kLeft;
  bool transposed = false;  // the matrix is the transpose of the factor
  std::int64_t rows = 0, columns = 0;
  const float* from = nullptr;
  std::ptrdiff_t from_row = 0;
  Bf16* to = nullptr;           // the factor's tile for the matrix's first row and column
  std::int64_t strip_size = 0;  // tiles per strip of the factor
  int planes = kRounded;
};

// Packs consecutive numbers of a matrix in canonical order as a part of a left factor: floats, or bfloat16, which are
// not changed. Padding is not written and must be zero.
struct PiecePacking {
  std::int64_t columns = 0;           // of the matrix
  std::int64_t first = 0, count = 0;  // which numbers
  const float* floats = nullptr;      // [count], or null
  const Bf16* halves = nullptr;       // [count], or null
  Bf16* to = nullptr;                 // the factor
  std::int64_t strip_size = 0;        // tiles per strip of the factor
  int planes = kRounded;
};

// Repacks a column of blocks of a left factor [rows, ...] as a right factor [rows, 32].
struct Repacking {
  std::int64_t rows = 0;        // a multiple of kBlockSide
  const Bf16* left = nullptr;   // the tile of the column's first rows
  std::int64_t strip_size = 0;  // tiles per strip of the left factor
  Bf16* right = nullptr;
  int planes = kRounded;
};

// to [rows, columns] = left [rows, depth] times right [depth, columns], all multiples of kBlockSide. The rows of `to`
// are to_row floats apart.
struct TileProduct {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const Bf16* left = nullptr;
  const Bf16* right = nullptr;
  float* to = nullptr;
  std::ptrdiff_t to_row = 0;
  int planes = kRounded;
};

// ---- Convolution, ReLU and 2x2 max-pool in one ----
// As in vector_kernels.h, for one image. With one plane, pooled values are returned rounded, as factors of the next
// product. A scratch buffer must be zero initially and is then private to the kernels of one layer, which rely on the
// zeros in borders that they never write.

// The columns of an image are divided into blocks, each of which is the rows of a tile: as few as possible, of the same
// even size. The last one overlaps the one before if they do not divide the image evenly.
inline constexpr std::int64_t block_columns(std::int64_t width) {
  const std::int64_t blocks = (width + kTileRows - 1) / kTileRows;
  return (width + 2 * blocks - 1) / (2 * blocks) * 2;
}

// For channels in multiples of kBlockSide.
struct TileConvolution {
  ConvolutionShape convolution;  // odd windows, even numbers of rows and columns
  int planes = kRounded;

  std::int64_t taps() const { return convolution.window_height * convolution.window_width; }
  std::int64_t columns() const { return block_columns(convolution.width); }
  // Products of weights read images with borders, [channels / 32][plane][padded_height(), padded_width(), 32], so that
  // the rows of a tile are the channels of adjacent pixels.
  std::int64_t padded_height() const { return convolution.height + convolution.window_height - 1; }
  std::int64_t padded_width() const { return convolution.width + convolution.window_width - 1; }
  std::int64_t padded_size() const { return padded_height() * padded_width() * kTileDepth; }
  // The gradient of the weights is summed over pixels along a single line: the rows of the image, pitch() apart, which
  // leaves room for one border between two rows. The offset of a tap is then the same for all pixels.
  std::int64_t pitch() const { return convolution.width + (convolution.window_width / 2 + 1) / 2 * 2; }
  std::int64_t line_size() const { return in_blocks(convolution.height * pitch()) * kTileDepth; }
  // Pairs of pixels from the first pixel of the first tap to the last pixel of the last one.
  std::int64_t pairs() const {
    return (line_size() + (convolution.window_height - 1) * pitch() + convolution.window_width + 1) / 2;
  }
  std::int64_t forward_scratch_size() const { return convolution.in / kTileDepth * planes * padded_size(); }
  // Of the input as pairs, of the gradient's padded images, of its tiles, and of one strip of its tiles while it is
  // transposed.
  std::int64_t backward_scratch_size() const {
    return pairs_size() + padded_gradient_size() + (convolution.out + kTileRows) * line_size() * planes;
  }
  std::int64_t pairs_size() const { return convolution.in * 2 * planes * 2 * pairs(); }
  std::int64_t padded_gradient_size() const { return convolution.out / kTileDepth * planes * padded_size(); }
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
  float* weight_sums = nullptr;     // [in / 16][out / 16][taps][16 out][16 in]: the gradient is added to it
  float* bias_sums = nullptr;       // [out]
  float* image_gradient = nullptr;  // [height, width, in]; null if not needed
  Bf16* scratch = nullptr;          // [backward_scratch_size()]
};

// For one input channel.
struct TileDirect {
  ConvolutionShape convolution;  // odd windows, even numbers of rows and columns
  int planes = kRounded;

  // The pixels of a column that are stored together: the windows of two adjacent rows.
  std::int64_t stack() const { return convolution.window_height + 1; }
  // Whether the window fits in the depth of a tile.
  bool fits() const { return stack() * convolution.window_width <= kTileDepth; }
  std::int64_t columns() const { return block_columns(convolution.width); }
  std::int64_t padded_height() const { return convolution.height + convolution.window_height - 1; }
  std::int64_t padded_width() const { return in_blocks(convolution.width) * kTileDepth + convolution.window_width - 1; }
  // Per plane, in whole cache lines:
  std::int64_t padded_size() const { return in_blocks(padded_height() * padded_width()) * kTileDepth; }
  std::int64_t stacks_size() const { return in_blocks(padded_width() * stack() + kTileDepth) * kTileDepth; }
  // 32 adjacent pixels for each padded row and each column of the window; behind them what a tile reads beyond.
  std::int64_t shifted_size() const {
    return in_blocks(convolution.width) * padded_height() * convolution.window_width * kTileDepth + 2 * kTileSize;
  }
  // Two rows of the gradient.
  std::int64_t gradient_size() const { return in_blocks(convolution.width) * 4 * kTileSize; }
  std::int64_t scratch_size() const {
    return (padded_size() + stacks_size() + shifted_size() + gradient_size()) * planes;
  }
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
  float* weight_sums = nullptr;  // [kBlockSide, out]: the gradient, [window_height, window_width, out], is added to it
  float* bias_sums = nullptr;    // [out]
  Bf16* scratch = nullptr;       // [scratch_size()]
};

struct AmxKernels {
  void (*pack)(const Packing&);
  void (*pack_piece)(const PiecePacking&);
  void (*repack)(const Repacking&);
  void (*tile_product)(const TileProduct&);
  void (*convolution_forward)(const TileConvolutionForward&);
  void (*convolution_backward)(const TileConvolutionBackward&);
  void (*direct_forward)(const TileDirectForward&);
  void (*direct_backward)(const TileDirectBackward&);
};

// For processors with AMX.
const AmxKernels& amx_kernels();
// For tests on any machine: bitwise identical, but slow. In a separate library that the program does not link.
const AmxKernels& emulated_amx_kernels();

}  // namespace distmnist::cpu
