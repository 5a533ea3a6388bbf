// Vector kernels: the built-in kernels, from one source that is compiled once per instruction set. All kernels work on
// plain float arrays and on one thread; callers that use several threads pass each one a part of the work.
//
// Bounds per core, at F multiply-adds per cycle (AVX2: 16, AVX-512: 16 to 32): products run at F, the transforms of
// Winograd's algorithm at about half of it, and copies and byte conversions at the speed of the L2 cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/math/instruction_set.h"

namespace distmnist::cpu {

// Copies `from` [rows, columns] to `to` [columns, rows], which is other memory.
struct Transposition {
  std::int64_t rows = 0, columns = 0;
  const float* from = nullptr;
  std::ptrdiff_t from_row = 0;
  float* to = nullptr;
  std::ptrdiff_t to_row = 0;
};

// ---- Matrix products ----

// c[i, j] = sum over k of a[i, k] b[k, j]; element (i, k) of a is a[i * a_row + k * a_column], and rows of b and c are
// contiguous.
struct Product {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const float* a = nullptr;
  std::ptrdiff_t a_row = 0, a_column = 0;
  const float* b = nullptr;
  std::ptrdiff_t b_row = 0;
  float* c = nullptr;
  std::ptrdiff_t c_row = 0;
  float* scratch = nullptr;       // [kProductScratch]
  const float* packed = nullptr;  // b as packed by pack(), for a depth of at most kProductDepth; then b is not needed
};
inline constexpr std::int64_t kProductRows = 12;          // Other numbers of rows leave registers unused.
inline constexpr std::int64_t kProductScratch = 1 << 14;  // floats
inline constexpr std::int64_t kProductDepth = 256;        // summed in one pass

// Packs b, [depth, columns], in the order in which products read it. Columns may be packed in pieces of kPackedColumns:
// those from `column` on go to packed + column * depth.
struct PanelPacking {
  std::int64_t columns = 0, depth = 0;
  const float* b = nullptr;
  std::ptrdiff_t b_row = 0;
  float* packed = nullptr;  // [panels_size(columns, depth)]
};
inline constexpr std::int64_t kPackedColumns = 32;
inline constexpr std::int64_t panels_size(std::int64_t columns, std::int64_t depth) {
  return (columns + kPackedColumns - 1) / kPackedColumns * kPackedColumns * depth;
}

// c[i, j] = biases[j] + sum over k of a[i, k] b[j, k], with negative results replaced by zero if relu is set. All rows
// are contiguous.
inline constexpr std::int64_t kRowProductColumns = 24;  // processed at a time
struct RowProducts {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const float* a = nullptr;
  std::ptrdiff_t a_row = 0;
  const float* b = nullptr;
  std::ptrdiff_t b_row = 0;
  const float* biases = nullptr;
  bool relu = false;
  float* c = nullptr;
  std::ptrdiff_t c_row = 0;
};

// ---- Convolution, ReLU and 2x2 max-pool in one ----
// SAME, stride 1, odd windows; height and width must be even. Images are [height, width, channels]. For each pooled
// number, a byte gives the position of its pixel in the window: row * 2 + column, or kNoneChosen if ReLU blocked all of
// them.

struct ConvolutionShape {
  std::int64_t height = 0, width = 0, in = 0, out = 0;
  std::int64_t window_height = 5, window_width = 5;

  std::int64_t pooled_size() const { return height / 2 * (width / 2) * out; }  // numbers
};
inline constexpr std::uint8_t kNoneChosen = 255;

// The output of one image's forward pass.
struct Pooled {
  float* values = nullptr;          // [height / 2, width / 2, out]
  std::uint8_t* choices = nullptr;  // [height / 2, width / 2, out]
};
// The input of its backward pass.
struct PooledGradient {
  const float* values = nullptr;
  const std::uint8_t* choices = nullptr;
};

// Direct convolution for one input channel: `image` includes the borders that the window needs, [height + window_height
// - 1, width + window_width - 1]; weights are [window_height, window_width, out].
struct DirectForward {
  ConvolutionShape shape;
  const float* image = nullptr;
  const float* weights = nullptr;
  const float* biases = nullptr;
  Pooled pooled;
};
// Adds the gradients of weights and biases to the sums.
struct DirectBackward {
  ConvolutionShape shape;
  const float* image = nullptr;
  PooledGradient gradient;
  float* weight_sums = nullptr;  // [window_height, window_width, out]
  float* bias_sums = nullptr;    // [out]
  float* scratch = nullptr;      // [2, width, out]
};

// Winograd's F(4x4, 5x5): computes tiles of 4x4 outputs from 8x8 inputs with 64 products instead of 400 (Lavin and
// Gray, arXiv 1509.09308), at the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
inline constexpr std::int64_t kWinogradPoints = 64;
inline constexpr std::int64_t kWinogradImages = 2;  // that share products; more would not fit in the cache

// The stride between two points, in floats: not a power of two, which would use only a few sets of the cache.
inline std::int64_t winograd_stride(std::int64_t numbers) {
  return numbers + 16;
}
inline std::int64_t winograd_weight_stride(std::int64_t in, std::int64_t out) {
  return winograd_stride(in * out);
}

struct WinogradShape {
  ConvolutionShape convolution;  // window 5x5
  std::int64_t tile_rows() const { return (convolution.height + 3) / 4; }
  std::int64_t tile_columns() const { return (convolution.width + 3) / 4; }
  std::int64_t tiles() const { return tile_rows() * tile_columns(); }
  // An image with its borders is [padded_height(), padded_width(), in].
  std::int64_t padded_height() const { return 4 * tile_rows() + 4; }
  std::int64_t padded_width() const { return 4 * tile_columns() + 4; }
  std::int64_t padded_size() const { return padded_height() * padded_width() * convolution.in; }
  std::int64_t in_stride() const { return winograd_stride(kWinogradImages * tiles() * convolution.in); }
  std::int64_t out_stride() const { return winograd_stride(kWinogradImages * tiles() * convolution.out); }
  std::int64_t outputs_size() const { return 16 * tiles() * convolution.out; }  // per image
  // For `images` at once: two rows of points, and the outputs.
  std::int64_t scratch_size(std::int64_t images) const {
    return kWinogradPoints / 4 * (in_stride() + out_stride()) + images * outputs_size();
  }
  std::int64_t weights_size() const {
    return kWinogradPoints * winograd_weight_stride(convolution.in, convolution.out);
  }
};

// Transforms weights [5, 5, in, out] to 64 matrices [in, out] and, unless null, [out, in], at a stride of
// winograd_weight_stride(in, out). Processes the input channels from `begin` to `end`, multiples of kChannelShare.
struct WinogradWeights {
  std::int64_t in = 0, out = 0;
  std::int64_t begin = 0, end = 0;
  const float* weights = nullptr;
  float* transformed = nullptr;
  float* transposed = nullptr;
};
// Several consecutive images, so that the weights are streamed once for all of them.
struct WinogradForward {
  WinogradShape shape;
  std::int64_t images = 0;
  const float* image = nullptr;        // with borders
  const float* transformed = nullptr;  // 64 [in, out]
  const float* biases = nullptr;
  Pooled pooled;
  float* scratch = nullptr;  // [scratch_size(images)]
};
struct WinogradBackward {
  WinogradShape shape;
  std::int64_t images = 0;
  const float* image = nullptr;  // with borders
  PooledGradient gradient;
  const float* transposed = nullptr;  // 64 [out, in]
  float* weight_sums = nullptr;       // 64 [in, out]: the transform of the weights' gradient is added to it
  float* bias_sums = nullptr;         // [out]
  float* image_gradient = nullptr;    // with borders, overwritten; null if not needed
  float* scratch = nullptr;           // [scratch_size(0)]
};
// Computes the gradient [5, 5, in, out] from the sums, 64 [in, out], for the input channels from `begin` to `end`.
struct WinogradWeightGradient {
  std::int64_t in = 0, out = 0;
  std::int64_t begin = 0, end = 0;
  const float* sums = nullptr;
  float* gradient = nullptr;
};

// Channel counts of the convolutions must be multiples of this, for every instruction set.
inline constexpr std::int64_t kChannelUnit = 32;
inline constexpr std::int64_t kChannelShare = 8;  // threads share them in multiples of this

struct VectorKernels {
  void (*transpose)(const Transposition&);
  void (*product)(const Product&);
  void (*pack)(const PanelPacking&);
  void (*row_products)(const RowProducts&);
  void (*direct_forward)(const DirectForward&);
  void (*direct_backward)(const DirectBackward&);
  void (*winograd_weights)(const WinogradWeights&);
  void (*winograd_forward)(const WinogradForward&);
  void (*winograd_backward)(const WinogradBackward&);
  void (*winograd_weight_gradient)(const WinogradWeightGradient&);
};

// The kernels for this instruction set, which the processor must support; for AMX, those for AVX-512.
const VectorKernels& vector_kernels(InstructionSet set);

}  // namespace distmnist::cpu
