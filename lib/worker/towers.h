// Towers: one training step computed by several executors of this process, each on its part of the batch (TensorFlow's
// in-graph replication).
#pragma once

#include <memory>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/batch_part.h"

namespace distmnist {

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
