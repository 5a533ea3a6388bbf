// Batch parts: how a batch is divided among several executors or devices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace distmnist {

// A range of samples, counted from the first one of the batch.
struct TowerPart {
  std::int64_t first = 0;
  std::int64_t size = 0;

  bool operator==(const TowerPart&) const = default;
};

// The part that tower `tower` computes of a batch of `batch_size` samples. The parts are consecutive, and the first
// batch_size % num_towers of them have one extra sample. A part is empty if there are more towers than samples.
inline TowerPart part_of_tower(std::int64_t batch_size, std::size_t tower, std::size_t num_towers) {
  const auto index = static_cast<std::int64_t>(tower);
  const auto towers = static_cast<std::int64_t>(num_towers);
  const std::int64_t larger = batch_size % towers;
  return {index * (batch_size / towers) + std::min(index, larger), batch_size / towers + (index < larger ? 1 : 0)};
}

}  // namespace distmnist
