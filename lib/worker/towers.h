// Towers: one training step computed by several executors of this process, each on its part of the batch (TensorFlow's
// in-graph replication).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "lib/backend/backend.h"

namespace distmnist {

// Samples of a batch, counted from its first one.
struct TowerPart {
  std::int64_t first = 0;
  std::int64_t size = 0;

  bool operator==(const TowerPart&) const = default;
};

// What tower `tower` computes of a batch of `batch_size` samples: the parts follow one another, and the first
// batch_size % num_towers of them have one sample more than the others. Nothing where towers outnumber samples.
TowerPart part_of_tower(std::int64_t batch_size, std::size_t tower, std::size_t num_towers);

// One executor over `towers`, at least one, which were compiled for the same graph, seed and stream. Tower k's
// max_batch_size is at least its part of the largest batch. Each tower has a thread of its own as long as the executor
// lives.
//
// A step gives what one device gives for the whole batch, within float rounding, and the same bits each time: samples
// keep their numbers, so dropout is the same, and the calling thread averages the gradients, weighted by the samples of
// each tower, in the order of the towers. It announces a variable as soon as all towers have its gradient. What a tower
// throws is thrown to the caller once all towers have stopped (of several, the first tower's). predict() is split in
// the same way; read() asks the first tower.
std::unique_ptr<Executor> make_towers(std::vector<std::unique_ptr<Executor>> towers);

}  // namespace distmnist
