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
// Numbers of a packed factor, whose two sides are `a` and `b` without the padding.
inline constexpr std::int64_t packed_size(std::int64_t a, std::int64_t b) {
  return in_blocks(a) * in_blocks(b) * kBlockSide * kBlockSide;
}

// ---- Matrix products ----

// The factors of a product lie packed in tiles: the left one [m, k] in strips of 16 rows, the right one [k, n] in
// strips of 16 columns. A strip is the tiles of all its depth, one after another.
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
};

// Packs a column of blocks of a left factor [rows, ...] anew: as the right factor [rows, 32].
struct Repacking {
  std::int64_t rows = 0;        // a multiple of kBlockSide
  const Bf16* left = nullptr;   // the tile of its corner
  std::int64_t strip_size = 0;  // tiles of a strip of the left factor
  Bf16* right = nullptr;
};

// left [rows, depth] times right [depth, columns], all multiples of kBlockSide. `block` is [kBlockSide,
// kTileProductColumns] floats, used again and again: done() is told of each piece of up to so many rows and columns.
struct TileProduct {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const Bf16* left = nullptr;
  const Bf16* right = nullptr;
  float* block = nullptr;
  BlockDone done = {};
};
inline constexpr std::int64_t kTileProductColumns = 256;

struct AmxKernels {
  void (*pack)(const Packing&);
  void (*repack)(const Repacking&);
  void (*tile_product)(const TileProduct&);
};

// For processors that have AMX.
const AmxKernels& amx_kernels();
// For tests, on every machine: to the bit the same, and slow. In a library of its own, which the program has not.
const AmxKernels& emulated_amx_kernels();

}  // namespace distmnist::cpu
