#include "lib/ps/store/chunk_table.h"

#include <algorithm>

#include "lib/wire/header.h"

namespace distmnist {

ChunkTable::ChunkTable(const std::vector<Range>& pieces) {
  for (const Range piece : pieces) {
    for (std::int64_t begin = piece.offset; begin < piece.end(); begin += kMaxPayloadFloats) {
      const Range range{begin, std::min(kMaxPayloadFloats, piece.end() - begin)};
      chunks_.push_back({range, num_floats_});
      num_floats_ += range.size;
    }
  }
  if (chunks_.empty()) chunks_.push_back({});
}

std::optional<std::size_t> ChunkTable::find(Range range) const {
  const auto at = std::lower_bound(chunks_.begin(), chunks_.end(), range.offset,
                                   [](const Chunk& chunk, std::int64_t offset) { return chunk.range.offset < offset; });
  if (at == chunks_.end() || at->range != range) return std::nullopt;
  return static_cast<std::size_t>(at - chunks_.begin());
}

std::pair<std::size_t, std::size_t> ChunkTable::within(Range range) const {
  std::size_t first = 0;
  while (first < chunks_.size() && chunks_[first].range.offset < range.offset) ++first;
  std::size_t last = first;
  while (last < chunks_.size() && chunks_[last].range.size > 0 && chunks_[last].range.end() <= range.end()) ++last;
  return {first, last};
}

}  // namespace distmnist
