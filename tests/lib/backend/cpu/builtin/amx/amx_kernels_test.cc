// Compares each kernel that uses AMX tiles with double-precision loops over the rounded factors.
#include "lib/backend/cpu/builtin/amx/amx_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/backend/cpu/builtin/rounding.h"
#include "lib/base/random.h"
#include "tests/support/amx.h"
#include "tests/support/catch.h"

using namespace distmnist;
using namespace distmnist::cpu;

namespace {

using Floats = std::vector<float>;
using Halves = NumberBuffer<Bf16>;

Floats random_floats(std::int64_t size, std::uint64_t seed) {
  Random random(seed, 7);
  Floats floats(static_cast<std::size_t>(size));
  std::ranges::generate(floats, [&] { return 2.0f * random.uniform() - 1.0f; });
  return floats;
}

double rounded(float number) {
  return static_cast<double>(rounded_to_bf16(number));
}

// |a - b| / |b| in the L2 norm.
double error_of(const Floats& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

constexpr double kLargestError = 1e-5;

// ---- Matrix products ----

std::int64_t padded(std::int64_t size) {
  return in_blocks(size) * kBlockSide;
}

struct Sizes {
  std::int64_t rows, columns, depth;
};

// A packed left factor [rows, depth] or right factor [depth, columns], from a matrix in its normal or transposed
// layout.
Halves packed(const AmxKernels& kernels, Factor factor, bool transposed, std::int64_t rows, std::int64_t columns,
              const Floats& matrix, int planes = kRounded) {
  Halves to(static_cast<std::size_t>(packed_size(rows, columns, planes)));
  std::ranges::fill(to.span(), Bf16{0x7FC0});  // NaN, because the kernel has to write the padding
  kernels.pack({.factor = factor,
                .transposed = transposed,
                .rows = transposed ? columns : rows,
                .columns = transposed ? rows : columns,
                .from = matrix.data(),
                .from_row = transposed ? rows : columns,
                .to = to.data(),
                .strip_size = in_blocks(factor == Factor::kLeft ? columns : rows) * planes,
                .planes = planes});
  return to;
}

// The product without the padding, which has to be zero.
Floats product(const AmxKernels& kernels, const Sizes& sizes, const Halves& left, const Halves& right,
               int planes = kRounded) {
  const std::int64_t row = padded(sizes.columns) + 16;  // in memory
  Floats whole(static_cast<std::size_t>(padded(sizes.rows) * row), -1.0f);
  kernels.tile_product({.rows = padded(sizes.rows),
                        .columns = padded(sizes.columns),
                        .depth = padded(sizes.depth),
                        .left = left.data(),
                        .right = right.data(),
                        .to = whole.data(),
                        .to_row = row,
                        .planes = planes});
  Floats result;
  float largest_of_padding = 0;
  for (std::int64_t r = 0; r < padded(sizes.rows); ++r) {
    for (std::int64_t c = 0; c < padded(sizes.columns); ++c) {
      const float number = whole[static_cast<std::size_t>(r * row + c)];
      if (r < sizes.rows && c < sizes.columns) {
        result.push_back(number);
      } else {
        largest_of_padding = std::max(largest_of_padding, std::abs(number));
      }
    }
  }
  CHECK(largest_of_padding == 0);
  return result;
}

Floats transposed(const Floats& matrix, std::int64_t rows, std::int64_t columns) {
  Floats result(matrix.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      result[static_cast<std::size_t>(c * rows + r)] = matrix[static_cast<std::size_t>(r * columns + c)];
    }
  }
  return result;
}

// The product of the numbers after `number` was applied to them.
std::vector<double> product_of(const Sizes& sizes, const Floats& left, const Floats& right, double (*number)(float)) {
  std::vector<double> result;
  for (std::int64_t r = 0; r < sizes.rows; ++r) {
    for (std::int64_t c = 0; c < sizes.columns; ++c) {
      double sum = 0;
      for (std::int64_t k = 0; k < sizes.depth; ++k) {
        sum += number(left[static_cast<std::size_t>(r * sizes.depth + k)]) *
               number(right[static_cast<std::size_t>(k * sizes.columns + c)]);
      }
      result.push_back(sum);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("a tile product equals the product of the rounded matrices in every layout") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const Sizes sizes = GENERATE(Sizes{1, 1, 1}, Sizes{32, 32, 32}, Sizes{50, 300, 70}, Sizes{500, 10, 33},
                               Sizes{10, 257, 500}, Sizes{33, 64, 3136});
  const Floats left = random_floats(sizes.rows * sizes.depth, 1);
  const Floats right = random_floats(sizes.depth * sizes.columns, 2);
  const std::vector<double> expected = product_of(sizes, left, right, rounded);
  const Halves packed_left = packed(kernels, Factor::kLeft, false, sizes.rows, sizes.depth, left);
  const Halves packed_right = packed(kernels, Factor::kRight, false, sizes.depth, sizes.columns, right);
  const Floats plain = product(kernels, sizes, packed_left, packed_right);
  CHECK(error_of(plain, expected) < kLargestError);
  const Floats from_transposed = product(
      kernels, sizes,
      packed(kernels, Factor::kLeft, true, sizes.rows, sizes.depth, transposed(left, sizes.rows, sizes.depth)),
      packed(kernels, Factor::kRight, true, sizes.depth, sizes.columns, transposed(right, sizes.depth, sizes.columns)));
  CHECK(from_transposed == plain);
}

TEST_CASE("a product of two planes equals that of the unrounded matrices, nearly as in float32") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const Sizes sizes = GENERATE(Sizes{1, 1, 1}, Sizes{50, 300, 70}, Sizes{10, 57, 500}, Sizes{33, 64, 3136});
  const Floats left = random_floats(sizes.rows * sizes.depth, 1);
  const Floats right = random_floats(sizes.depth * sizes.columns, 2);
  const std::vector<double> expected =
      product_of(sizes, left, right, [](float number) { return static_cast<double>(number); });
  const auto pack = [&](Factor factor, bool is_transposed, const Floats& matrix) {
    return factor == Factor::kLeft
               ? packed(kernels, factor, is_transposed, sizes.rows, sizes.depth, matrix, kNearlyFloat)
               : packed(kernels, factor, is_transposed, sizes.depth, sizes.columns, matrix, kNearlyFloat);
  };
  const Floats plain =
      product(kernels, sizes, pack(Factor::kLeft, false, left), pack(Factor::kRight, false, right), kNearlyFloat);
  CHECK(error_of(plain, expected) < kLargestError);
  CHECK(product(kernels, sizes, pack(Factor::kLeft, true, transposed(left, sizes.rows, sizes.depth)),
                pack(Factor::kRight, true, transposed(right, sizes.depth, sizes.columns)), kNearlyFloat) == plain);
}

TEST_CASE("what a matrix lacks to whole blocks is zero, whatever is behind its rows and columns") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const Factor factor = GENERATE(Factor::kLeft, Factor::kRight);
  const bool is_transposed = GENERATE(false, true);
  const std::int64_t rows = GENERATE(33, 50), columns = GENERATE(45, 64), row = 80;
  Floats memory(static_cast<std::size_t>(padded(rows) * row), std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t r = 0; r < rows; ++r) std::fill_n(memory.begin() + r * row, columns, 1.0f);
  const bool depth_is_columns = (factor == Factor::kLeft) != is_transposed;
  Halves to(static_cast<std::size_t>(packed_size(rows, columns)));
  std::ranges::fill(to.span(), Bf16{0x7FC0});
  kernels.pack({.factor = factor,
                .transposed = is_transposed,
                .rows = rows,
                .columns = columns,
                .from = memory.data(),
                .from_row = row,
                .to = to.data(),
                .strip_size = in_blocks(depth_is_columns ? columns : rows)});
  constexpr Bf16 kOne = 0x3F80;
  CHECK(std::ranges::count(to.span(), kOne) == rows * columns);
  CHECK(std::ranges::count(to.span(), Bf16{0}) == std::ssize(to.span()) - rows * columns);
}

TEST_CASE("pieces of a matrix are packed as the whole matrix is") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  const std::int64_t rows = 37, columns = GENERATE(64, 75);
  Floats matrix = random_floats(rows * columns, 1);
  const bool from_halves = GENERATE(false, true);
  if (from_halves) round_to_bf16(matrix, matrix.data());
  const Halves whole = packed(kernels, Factor::kLeft, false, rows, columns, matrix, planes);
  std::vector<Bf16> halves;
  for (const float number : matrix) halves.push_back(static_cast<Bf16>(std::bit_cast<std::uint32_t>(number) >> 16));
  Halves pieces(whole.size());
  for (std::int64_t first = 0, count = 1; first < rows * columns; first += count, count = count * 2 + 1) {
    count = std::min(count, rows * columns - first);
    PiecePacking piece{.columns = columns,
                       .first = first,
                       .count = count,
                       .to = pieces.data(),
                       .strip_size = in_blocks(columns) * planes,
                       .planes = planes};
    if (from_halves) {
      piece.halves = halves.data() + first;
    } else {
      piece.floats = matrix.data() + first;
    }
    kernels.pack_piece(piece);
  }
  CHECK(std::ranges::equal(pieces.span(), whole.span()));
}

TEST_CASE("a column of blocks of a left factor can be packed again as a right factor") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const int planes = GENERATE(kRounded, kNearlyFloat);
  const std::int64_t rows = 500, columns = 100, column = 64;
  const Floats matrix = random_floats(rows * columns, 1);
  Floats part;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = column; c < column + kBlockSide; ++c) {
      part.push_back(matrix[static_cast<std::size_t>(r * columns + c)]);
    }
  }
  const Halves left = packed(kernels, Factor::kLeft, false, rows, columns, matrix, planes);
  const Halves expected = packed(kernels, Factor::kRight, false, rows, kBlockSide, part, planes);
  Halves right(expected.size());
  kernels.repack({.rows = padded(rows),
                  .left = left.data() + column / kTileDepth * planes * kTileSize,
                  .strip_size = in_blocks(columns) * planes,
                  .right = right.data(),
                  .planes = planes});
  CHECK(std::ranges::equal(right.span(), expected.span()));
}

TEST_CASE("tiles accumulate even and odd depths separately and flush denormals") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  constexpr float kDenormal = std::numeric_limits<float>::min() / 4;
  const Sizes sizes{1, 1, 32};
  const auto dot = [&](Floats left, Floats right) {
    left.resize(32);
    right.resize(32);
    return product(kernels, sizes, packed(kernels, Factor::kLeft, false, 1, 32, left),
                   packed(kernels, Factor::kRight, false, 32, 1, right))[0];
  };
  CHECK(dot({0x1p30f, 1, -0x1p30f}, {1, 1, 1}) == 1.0f);
  CHECK(dot({0x1p30f, 0, 1, 0, -0x1p30f}, {1, 1, 1, 1, 1}) == 0.0f);
  CHECK(dot({kDenormal, 1}, {0x1p100f, 1}) == 1.0f);
  CHECK(dot({kDenormal}, {0x1p100f}) == 0.0f);
  CHECK(dot({0x1p-100f}, {0x1p-28f}) == 0.0f);
  CHECK(dot({0x1p-100f}, {0x1p-26f}) == 0x1p-126f);
}

TEST_CASE("NaN stays NaN when it is packed") {
  const AmxKernels& kernels = *GENERATE(from_range(amx_kernels_under_test()));
  const auto number = std::bit_cast<float>(0x7F800001u);
  const Halves halves = packed(kernels, Factor::kLeft, false, 1, 2, {number, std::numeric_limits<float>::infinity()});
  CHECK((halves.data()[0] & 0x7F) != 0);
  CHECK((halves.data()[0] & 0x7F80) == 0x7F80);
  CHECK(halves.data()[1] == 0x7F80);
}
