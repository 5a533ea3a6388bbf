// BlockPool: divides large blocks into pieces and puts them together again. Knows sizes and offsets only, no memory.
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
  std::uint64_t offset = 0;  // bytes, a multiple of kPieceAlignment
  std::uint64_t size = 0;    // bytes
};

// What cuBLASLt and cuDNN like best, and what cudaMalloc promises.
inline constexpr std::uint64_t kPieceAlignment = 256;

// One thread at a time may call it.
class BlockPool {
 public:
  // Blocks are numbered from 0 in the order in which they come.
  void add_block(std::uint64_t size_bytes);

  // The smallest free piece that is large enough is used (the first one of several), and what is left of it stays free.
  // Nothing where no free piece is large enough. size_bytes at least 1.
  std::optional<Piece> take(std::uint64_t size_bytes);
  // A piece that take() has given, once.
  void give_back(const Piece& piece);

  std::uint64_t total_bytes() const { return total_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t largest_free_bytes() const;

 private:
  std::vector<std::map<std::uint64_t, std::uint64_t>>
      free_;  // per block: offset -> size; neighbours are never both free
  std::uint64_t total_bytes_ = 0;
  std::uint64_t used_bytes_ = 0;
};

}  // namespace distmnist::cuda
