// BlockPool: divides large blocks into pieces and merges freed ones. It manages only sizes and offsets, not memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace distmnist::cuda {

// A part of a block. `size` is a multiple of kPieceAlignment.
struct Piece {
  std::size_t block = 0;
  std::uint64_t offset = 0;  // in bytes, a multiple of kPieceAlignment
  std::uint64_t size = 0;    // in bytes
};

// The alignment that cuBLASLt and cuDNN prefer and that cudaMalloc guarantees.
inline constexpr std::uint64_t kPieceAlignment = 256;

// Not thread-safe.
class BlockPool {
 public:
  // Blocks are numbered from 0 in the order in which they are added.
  void add_block(std::uint64_t size_bytes);

  // Uses the smallest free piece that is large enough (the first one if there are several); the rest of it stays free.
  // Nothing if no free piece is large enough. size_bytes must be at least 1.
  std::optional<Piece> take(std::uint64_t size_bytes);
  // Returns a piece from take(). Call once per piece.
  void give_back(const Piece& piece);

  std::uint64_t total_bytes() const { return total_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t largest_free_bytes() const;

 private:
  std::vector<std::map<std::uint64_t, std::uint64_t>>
      free_;  // per block: offset -> size; adjacent pieces are never both free
  std::uint64_t total_bytes_ = 0;
  std::uint64_t used_bytes_ = 0;
};

}  // namespace distmnist::cuda
