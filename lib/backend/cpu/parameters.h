// Parameters: the executor's parameters and gradients, plus the optimizer slots in resident training, all in canonical
// layout.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/cpu/float_buffer.h"
#include "lib/graph/graph.h"
#include "lib/optim/optimizer.h"
#include "lib/optim/update_rules.h"

namespace distmnist::cpu {

// Counts the changes of each variable, so that a kernel with a packed copy can tell whether the copy is stale.
class Parameters {
 public:
  // `rounded`: products use the parameters rounded to bfloat16.
  Parameters(const Graph& graph, bool rounded);

  void load(Range range, std::span<const float> values);
  std::span<const float> values(Range range) const { return slice(values_.span(), range); }
  // The number of changes of the variable at `range`.
  std::uint64_t version(Range range) const;

  std::span<float> gradients(Range range) { return slice(gradients_.span(), range); }
  std::span<float> gradients() { return gradients_.span(); }

  // For biases. Not const, because oneDNN takes every address as void*, even if it only reads from it.
  float* address(Range range) { return values_.data() + range.offset; }
  // The weights of a variable in the form that products use. The first call creates a rounded copy if they need one,
  // which is kept up to date from then on at the same address. Kernels call it when they are made, or never if they
  // round weights themselves.
  float* factors(Range variable);
  float* gradient_address(Range range) { return gradients_.data() + range.offset; }

  // ---- The optimizer, for resident training ----
  void start(const OptimizerSpec& optimizer, std::span<const std::span<const float>> slots);
  std::span<const float> slot(std::size_t slot) const { return slots_.at(slot).span(); }
  // For update number t: begin_update(), then update() once for every parameter, then end_update().
  void begin_update(std::int64_t t) { rate_ = update_rate(optimizer_, t); }
  // Updates these parameters with their gradient. Threads may concurrently update ranges that do not overlap.
  void update(Range range, const float* gradient);
  void end_update();

 private:
  struct Tracked {
    Range range;
    std::uint64_t version = 0;
    FloatBuffer rounded = {};  // empty if no product uses a rounded copy
  };
  void round(Range range);

  bool rounds_;
  FloatBuffer values_;
  FloatBuffer gradients_;
  std::vector<Tracked> variables_;

  OptimizerSpec optimizer_;
  UpdateRule rule_ = nullptr;
  float rate_ = 0;
  std::vector<FloatBuffer> slots_;
};

}  // namespace distmnist::cpu
