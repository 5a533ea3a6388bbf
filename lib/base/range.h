// Range: a run of floats in the parameter block. Sharding, push, pull, optimizers and checkpoints all use ranges.
#pragma once

#include <cstdint>
#include <span>

namespace distmnist {

struct Range {
  std::int64_t offset = 0;  // floats from the start of the block
  std::int64_t size = 0;    // floats

  std::int64_t end() const { return offset + size; }
  bool contains(Range other) const { return other.offset >= offset && other.end() <= end(); }
  bool operator==(const Range&) const = default;
};

// The part of `block` that `range` describes.
template <typename T>
std::span<T> slice(std::span<T> block, Range range) {
  return block.subspan(static_cast<std::size_t>(range.offset), static_cast<std::size_t>(range.size));
}

}  // namespace distmnist
