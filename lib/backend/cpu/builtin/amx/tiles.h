// AMX tiles: eight registers per thread, each a matrix of 16 rows of 64 bytes. The only product used here takes 16 rows
// of 32 bfloat16 (the left factor) and 16 rows of 16 pairs of bfloat16 (the right one, whose row k holds rows 2k and 2k
// + 1 of the matrix, interleaved) and adds to 16 rows of 16 floats (Intel's Software Developer's Manual, TDPBF16PS).
//
// Kernels are written for a class Tiles with two implementations: hardware_tiles.inl has the instructions, and
// emulated_tiles.inl has loops that compute the same numbers on any machine, for tests. A Tiles object owns the tiles
// of its thread for its lifetime; only one may exist at a time. Tile numbers, 0 .. 7, are template arguments, because
// they are encoded in the instructions.
//   Tiles(rows)                    tiles with this many rows, 1 .. 16; only kWholeTile, for right factors, has all 16
//   zero<kTile>()
//   load<kTile>(from, row_bytes)   rows of 64 bytes, row_bytes apart, at any address
//   store<kTile>(to, row_bytes)    the same, to memory
//   multiply<kTo, kLeft, kRight>() adds the product
// Both files also have a function
//   rounded(first, second)         two vectors of 16 floats as 32 bfloat16: to nearest, ties to even, denormals to zero
#pragma once

#include <cstdint>

namespace distmnist::cpu {

using Bf16 = std::uint16_t;  // The upper half of a float32.

inline constexpr std::int64_t kTileRows = 16;
inline constexpr std::int64_t kTileBytes = 64;                     // per row
inline constexpr std::int64_t kTileDepth = 32;                     // bfloat16 per row, over which one product sums
inline constexpr std::int64_t kTileSize = kTileRows * kTileDepth;  // bfloat16 per tile
inline constexpr int kWholeTile = 7;

}  // namespace distmnist::cpu
