// Parameters: the executor's parameters and gradients, plus the optimizer slots in resident training, in canonical
// layout. Weights can also be in AMX's tiles.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lib/backend/cpu/builtin/tile_matrix.h"
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
  // Numbers of a matrix in tiles go into them as they are, without a copy in float32. Until the next load() of one of
  // its numbers, read() returns the whole matrix as it is in the tiles, and address() has older numbers.
  void load_bf16(Range range, std::span<const std::uint16_t> values);
  void read(Range range, std::span<float> values) const;
  // The number of changes of the variable at `range`.
  std::uint64_t version(Range range) const;

  std::span<float> gradients(Range range) { return slice(gradients_.span(), range); }
  std::span<float> gradients() { return gradients_.span(); }

  // For biases, and for weights that kernels convert themselves. Not const, because oneDNN takes every address as
  // void*, even if it only reads from it.
  float* address(Range range) { return values_.data() + range.offset; }
  // The weights of a variable in the form that products use. The first call creates a rounded copy if they need one,
  // which is kept up to date from then on at the same address. Kernels call it when they are made, or never if they
  // round weights themselves.
  float* factors(Range variable);
  float* gradient_address(Range range) { return gradients_.data() + range.offset; }

  // From now on gradients end up as bfloat16, rounded to nearest. The gradient of a matrix in tiles gets there piece by
  // piece with put_gradient(), and never exists in float32; others are rounded by finish_gradient().
  std::span<const std::uint16_t> round_gradients();
  bool rounds_gradients() const { return rounded_gradients_.size() > 0; }
  // Threads may concurrently put ranges that do not overlap. Without round_gradients(), floats are copied.
  void put_gradient(Range range, const float* gradient);
  void finish_gradient(Range variable);

  // The weights of a fully connected layer, [rows, columns], in tiles. The first call creates them; kernels call it
  // when they are made. A kernel that finds them not to be current packs them from address() and says so. From then on
  // load() and load_bf16() keep them current.
  TileMatrix& tiles(Range variable, const AmxKernels& kernels, std::int64_t rows, std::int64_t columns, int planes);
  bool tiles_are_current(Range variable) const;
  // `changes`: those that the tiles have and version() does not count yet.
  void note_tiles_packed(Range variable, std::uint64_t changes = 0);

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
    std::unique_ptr<TileMatrix> tiles = {};
    std::uint64_t tiles_version = ~std::uint64_t{0};  // initially of none
    bool only_in_tiles = false;                       // the floats are older
  };
  Tracked& tracked(Range variable);
  const Tracked& tracked(Range variable) const;
  void update_floats(Tracked& variable);
  void round(Range range);

  bool rounds_;
  FloatBuffer values_;
  FloatBuffer gradients_;
  NumberBuffer<std::uint16_t> rounded_gradients_;  // empty unless they are wanted
  std::vector<Tracked> variables_;

  OptimizerSpec optimizer_;
  UpdateRule rule_ = nullptr;
  float rate_ = 0;
  std::vector<FloatBuffer> slots_;
};

}  // namespace distmnist::cpu
