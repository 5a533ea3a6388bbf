// VariableStore: one shard of a model: its pieces of the parameter block, the optimizer's slots, and the update count.
// One thread owns it, so no reader ever sees part of an update.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lib/optim/optimizer.h"
#include "lib/optim/update_rules.h"
#include "lib/ps/store/chunk_table.h"
#include "lib/wire/numbers.h"

namespace distmnist {

class ThreadPool;

// Floats initialized to 0. The system provides their memory page by page on the first write, so a large block costs
// nothing until its values arrive. Throws std::bad_alloc if there is not enough memory.
class ZeroedFloats {
 public:
  explicit ZeroedFloats(std::size_t size);
  std::span<float> all() { return {memory_.get(), size_}; }

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(float* memory) const;
  };
  std::unique_ptr<float, Unmap> memory_;
  std::size_t size_ = 0;
};

class VariableStore {
 public:
  // All values are zero until they are written. `global_step` updates count as already applied (a restored model).
  VariableStore(const std::vector<Range>& pieces, const OptimizerSpec& optimizer, std::int64_t global_step);

  const ChunkTable& chunks() const { return chunks_; }
  const OptimizerSpec& optimizer() const { return optimizer_; }
  std::size_t num_slots() const { return values_.size() - 1; }

  // Updates over the life of the model (Adam's t, the clock of the learning rate): the shard's own view of global_step.
  std::int64_t global_step() const { return global_step_; }
  // Updates since this store was made.
  std::int64_t commit() const { return commit_; }

  // The values of a chunk: slot 0 holds the parameters, 1 .. num_slots() the optimizer's values.
  std::span<float> values(std::size_t slot, std::size_t chunk);
  std::span<const float> values(std::size_t slot, std::size_t chunk) const;

  // One update is begin_update() and then one apply() for every chunk, with nothing in between. `rate_factor`
  // multiplies the learning rate in this update.
  void begin_update(float rate_factor = 1.0f);
  // Applies a gradient to a chunk, and writes the new parameters to `updated`, which may be the gradient's own memory.
  void apply(std::size_t chunk, std::span<const float> gradient, std::span<float> updated);
  // Applies the mean of `gradients` (at least one; computed as in lib/math/mean.h, in this order), in one pass over
  // memory. The new parameters go to `updated` in the type of the first gradient, whose own memory it may be. The
  // threads of `pool` (null: only the caller's thread) share the chunk. The bits do not depend on their number.
  void apply(std::size_t chunk, std::span<const Numbers> gradients, std::span<std::byte> updated, ThreadPool* pool);

 private:
  // `size` floats of a chunk, from `begin` on.
  struct Part {
    std::size_t chunk = 0, begin = 0, size = 0;
  };
  // apply() for a part of a chunk. The gradients and `updated` are those of the whole chunk.
  void apply_part(const Part& part, std::span<const Numbers> gradients, std::span<std::byte> updated);
  // The arrays of a part, except for gradient and updated.
  UpdateArrays arrays_of(const Part& part);

  ChunkTable chunks_;
  OptimizerSpec optimizer_;
  std::vector<ZeroedFloats> values_;  // parameters, then the optimizer's slots
  std::int64_t global_step_ = 0;
  std::int64_t commit_ = 0;
  float rate_ = 0;  // of the current update, as in update_rate()
};

}  // namespace distmnist
