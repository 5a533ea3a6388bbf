// TileMatrix: the weights of a fully connected layer, [rows, columns], in AMX tiles as a left factor.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"
#include "lib/backend/cpu/float_buffer.h"
#include "lib/base/thread_pool.h"

namespace distmnist::cpu {

class TileMatrix {
 public:
  // planes: kRounded or kNearlyFloat.
  TileMatrix(const AmxKernels& kernels, std::int64_t rows, std::int64_t columns, int planes);

  // The tile that contains this number of the matrix. With two planes, the tile of the second plane follows.
  Bf16* tile(std::int64_t row, std::int64_t column);
  std::int64_t strip_size() const { return in_blocks(columns_) * planes_; }  // tiles

  // From the matrix in canonical order: whole rows, from a multiple of kBlockSide on. Threads may concurrently pack
  // rows that do not overlap.
  void pack(const Share& rows, const float* matrix);
  // Consecutive numbers in canonical order, from number `first` on.
  void load(std::int64_t first, std::span<const float> numbers);
  void load(std::int64_t first, std::span<const Bf16> numbers);
  // The numbers as they are in the tiles: with one plane rounded to bfloat16, with two nearly float32.
  void read(std::int64_t first, std::span<float> numbers) const;

 private:
  PiecePacking piece(std::int64_t first, std::int64_t count);

  const AmxKernels& kernels_;
  std::int64_t columns_;
  int planes_;
  NumberBuffer<Bf16> tiles_;
};

}  // namespace distmnist::cpu
