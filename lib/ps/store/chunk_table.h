// ChunkTable: a ps's pieces of the parameter block, split into chunks that fit in one message. Worker and ps compute
// the same table from the same pieces, so a chunk on the wire is checked by comparing ranges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "lib/base/range.h"

namespace distmnist {

class ChunkTable {
 public:
  // `pieces`: in order of offset, without overlap. A shard without pieces has one empty chunk, so that every push and
  // pull is at least one message on every ps.
  explicit ChunkTable(const std::vector<Range>& pieces);

  std::size_t size() const { return chunks_.size(); }
  Range range(std::size_t chunk) const { return chunks_[chunk].range; }
  // The chunk's place in the shard's own memory, in floats.
  Range local(std::size_t chunk) const { return {chunks_[chunk].local_offset, chunks_[chunk].range.size}; }
  std::int64_t num_floats() const { return num_floats_; }

  // The chunk with exactly this range; empty if there is none.
  std::optional<std::size_t> find(Range range) const;
  // The chunks that lie within `range`: [first, last).
  std::pair<std::size_t, std::size_t> within(Range range) const;

 private:
  struct Chunk {
    Range range;
    std::int64_t local_offset = 0;
  };
  std::vector<Chunk> chunks_;
  std::int64_t num_floats_ = 0;
};

}  // namespace distmnist
