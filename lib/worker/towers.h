// Towers: several executors of this process compute one training step, each on its part of the batch (TensorFlow's
// in-graph replication).
#pragma once

#include <memory>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/batch_part.h"

namespace distmnist {

// Returns one executor over `towers` (at least one), which must be compiled for the same graph, seed and stream. Tower
// k's max_batch_size must be at least its part of the largest batch. Each tower has its own thread for the lifetime of
// the executor.
//
// A step gives the same result as one device gives for the whole batch, within float rounding, and is bitwise
// reproducible. Samples keep their numbers, so dropout is the same. The calling thread averages the gradients in tower
// order, weighted by the number of samples of each tower. It announces a variable as soon as all towers have its
// gradient. If a tower throws, the step rethrows once all towers have stopped (if several throw, the first tower's
// error). predict() splits its batch the same way; read() reads from the first tower.
std::unique_ptr<Executor> make_towers(std::vector<std::unique_ptr<Executor>> towers);

}  // namespace distmnist
