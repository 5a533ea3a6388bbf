#include "lib/backend/cpu/builtin/tile_matrix.h"

#include <bit>

namespace distmnist::cpu {
namespace {

float as_float(Bf16 number) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(number) << 16);
}

}  // namespace

TileMatrix::TileMatrix(const AmxKernels& kernels, std::int64_t rows, std::int64_t columns, int planes)
    : kernels_(kernels),
      columns_(columns),
      planes_(planes),
      tiles_(static_cast<std::size_t>(packed_size(rows, columns, planes))) {}

Bf16* TileMatrix::tile(std::int64_t row, std::int64_t column) {
  return tiles_.data() + (row / kTileRows * strip_size() + column / kTileDepth * planes_) * kTileSize;
}

void TileMatrix::pack(const Share& rows, const float* matrix) {
  kernels_.pack({.rows = rows.size(),
                 .columns = columns_,
                 .from = matrix + rows.begin * columns_,
                 .from_row = columns_,
                 .to = tile(rows.begin, 0),
                 .strip_size = strip_size(),
                 .planes = planes_});
}

PiecePacking TileMatrix::piece(std::int64_t first, std::int64_t count) {
  return {.columns = columns_,
          .first = first,
          .count = count,
          .to = tiles_.data(),
          .strip_size = strip_size(),
          .planes = planes_};
}

void TileMatrix::load(std::int64_t first, std::span<const float> numbers) {
  PiecePacking packing = piece(first, std::ssize(numbers));
  packing.floats = numbers.data();
  kernels_.pack_piece(packing);
}

void TileMatrix::load(std::int64_t first, std::span<const Bf16> numbers) {
  PiecePacking packing = piece(first, std::ssize(numbers));
  packing.halves = numbers.data();
  kernels_.pack_piece(packing);
}

void TileMatrix::read(std::int64_t first, std::span<float> numbers) const {
  for (std::int64_t i = 0; i < std::ssize(numbers); ++i) {
    const std::int64_t row = (first + i) / columns_, column = (first + i) % columns_;
    const Bf16* const number = tiles_.data() +
                               (row / kTileRows * strip_size() + column / kTileDepth * planes_) * kTileSize +
                               row % kTileRows * kTileDepth + column % kTileDepth;
    numbers[static_cast<std::size_t>(i)] =
        as_float(number[0]) + (planes_ == kNearlyFloat ? as_float(number[kTileSize]) : 0.0f);
  }
}

}  // namespace distmnist::cpu
