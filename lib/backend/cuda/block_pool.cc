#include "lib/backend/cuda/block_pool.h"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace distmnist::cuda {

void BlockPool::add_block(std::uint64_t size_bytes) {
  const std::uint64_t usable = size_bytes / kPieceAlignment * kPieceAlignment;
  free_.emplace_back();
  if (usable > 0) free_.back().emplace(0, usable);
  total_bytes_ += usable;
}

std::optional<Piece> BlockPool::take(std::uint64_t size_bytes) {
  assert(size_bytes > 0);
  if (size_bytes > total_bytes_) return std::nullopt;  // Checked before rounding up, which may overflow.
  const std::uint64_t size = (size_bytes + kPieceAlignment - 1) / kPieceAlignment * kPieceAlignment;
  std::optional<Piece> best;
  for (std::size_t block = 0; block < free_.size(); ++block) {
    for (const auto& [offset, free_size] : free_[block]) {
      if (free_size >= size && (!best || free_size < best->size)) best = Piece{block, offset, free_size};
    }
  }
  if (!best) return std::nullopt;
  auto& pieces = free_[best->block];
  pieces.erase(best->offset);
  if (best->size > size) pieces.emplace(best->offset + size, best->size - size);
  best->size = size;
  used_bytes_ += size;
  return best;
}

void BlockPool::give_back(const Piece& piece) {
  auto& pieces = free_[piece.block];
  const auto [at, is_new] = pieces.emplace(piece.offset, piece.size);
  assert(is_new);
  used_bytes_ -= piece.size;
  if (const auto next = std::next(at); next != pieces.end() && at->first + at->second == next->first) {
    at->second += next->second;
    pieces.erase(next);
  }
  if (at == pieces.begin()) return;
  if (const auto before = std::prev(at); before->first + before->second == at->first) {
    before->second += at->second;
    pieces.erase(at);
  }
}

std::uint64_t BlockPool::largest_free_bytes() const {
  std::uint64_t largest = 0;
  for (const auto& pieces : free_) {
    for (const auto& [offset, size] : pieces) largest = std::max(largest, size);
  }
  return largest;
}

}  // namespace distmnist::cuda
