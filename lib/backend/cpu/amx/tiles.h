// AMX's tiles: eight registers a thread, each a matrix of 16 rows of 64 bytes. The one product that we use takes 16
// rows of 32 bfloat16 (the left factor) and 16 rows of 16 pairs of bfloat16 (the right one, whose row k holds rows 2k
// and 2k + 1 of the matrix, interleaved) and adds to 16 rows of 16 floats (Intel's Software Developer's Manual,
// TDPBF16PS).
//
// Kernels are written against a class Tiles, of which there are two: hardware_tiles.inl has the instructions,
// emulated_tiles.inl loops that compute the same numbers on every machine, for tests. From its making to its end a
// Tiles owns the tiles of the thread: there is one at a time. Tiles are named by template arguments, 0 .. 7, for the
// instructions contain them.
//   zero<kTile>()
//   load<kTile>(from, row_bytes)   16 rows of 64 bytes, row_bytes apart, at any address
//   store<kTile>(to, row_bytes)    likewise
//   multiply<kTo, kLeft, kRight>() adds the product
#pragma once

#include <cstdint>

namespace distmnist::cpu {

using Bf16 = std::uint16_t;  // The upper half of a float32.

inline constexpr std::int64_t kTileRows = 16;
inline constexpr std::int64_t kTileBytes = 64;                     // of a row
inline constexpr std::int64_t kTileDepth = 32;                     // bfloat16 in a row: what one product adds up
inline constexpr std::int64_t kTileSize = kTileRows * kTileDepth;  // bfloat16 in a tile

}  // namespace distmnist::cpu
