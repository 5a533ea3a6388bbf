// Compares the matrix products of every instruction set with plain loops in double precision. The convolutions are in
// vector_direct_test.cc and vector_winograd_test.cc.
#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

#include <cmath>

#include "tests/support/catch.h"
#include "tests/support/guarded.h"
#include "tests/support/kernel_sets.h"

using namespace distmnist;
using namespace distmnist::cpu;

namespace {

constexpr std::int64_t kPad = 3;  // floats between two rows

// The numbers of a product and, for each, the sum of the absolute values of its terms, which is the scale of the
// rounding error.
struct Expected {
  std::int64_t columns;
  std::vector<double> values, sizes;

  bool is(std::int64_t row, std::int64_t column, float value) const {
    const auto at = static_cast<std::size_t>(row * columns + column);
    return std::abs(value - values[at]) <= 1e-6 * sizes[at];  // false for NaN
  }
};

struct Size {
  std::int64_t rows, columns, depth;
};

// a[rows, depth], b[depth, columns]
Expected plain_product(const Size& size, const Guarded& a, const Guarded& b) {
  const auto count = static_cast<std::size_t>(size.rows * size.columns);
  Expected c{.columns = size.columns, .values = std::vector<double>(count), .sizes = std::vector<double>(count)};
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t k = 0; k < size.depth; ++k) {
      for (std::int64_t j = 0; j < size.columns; ++j) {
        const double term = static_cast<double>(a.at(i, k)) * b.at(k, j);
        c.values[static_cast<std::size_t>(i * size.columns + j)] += term;
        c.sizes[static_cast<std::size_t>(i * size.columns + j)] += std::abs(term);
      }
    }
  }
  return c;
}

std::int64_t count_wrong(const Size& size, const Guarded& c, const Expected& expected) {
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t j = 0; j < size.columns; ++j) wrong += expected.is(i, j, c.at(i, j)) ? 0 : 1;
  }
  return wrong;
}

Guarded transposed(const Size& size, const Guarded& a) {
  Guarded to(size.depth, size.rows, size.rows + kPad);
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t k = 0; k < size.depth; ++k) to.at(k, i) = a.at(i, k);
  }
  return to;
}

// The factors of a product, with both layouts of the first.
struct Factors {
  explicit Factors(const Size& size)
      : a(size.rows, size.depth, size.depth + kPad),
        b(size.depth, size.columns, size.columns + kPad),
        a_transposed(0, 0, 1) {
    Random random(static_cast<std::uint64_t>(size.rows * 1000 + size.columns), static_cast<std::uint64_t>(size.depth));
    a.fill_uniform(random);
    b.fill_uniform(random);
    a_transposed = transposed(size, a);
  }

  Product product(const Size& size, bool transposed, Guarded& scratch) const {
    return {.rows = size.rows,
            .columns = size.columns,
            .depth = size.depth,
            .a = transposed ? a_transposed.data() : a.data(),
            .a_row = transposed ? 1 : a.stride(),
            .a_column = transposed ? a_transposed.stride() : 1,
            .b = b.data(),
            .b_row = b.stride(),
            .scratch = scratch.data()};
  }

  Guarded a, b, a_transposed;
};

Expected plain_row_products(const Size& size, const Guarded& a, const Guarded& b, const Guarded& biases) {
  Guarded b_transposed(size.depth, size.columns, size.columns);
  for (std::int64_t j = 0; j < size.columns; ++j) {
    for (std::int64_t k = 0; k < size.depth; ++k) b_transposed.at(k, j) = b.at(j, k);
  }
  Expected c = plain_product(size, a, b_transposed);
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t j = 0; j < size.columns; ++j) {
      c.values[static_cast<std::size_t>(i * size.columns + j)] += biases.at(0, j);
      c.sizes[static_cast<std::size_t>(i * size.columns + j)] += std::abs(biases.at(0, j));
    }
  }
  return c;
}

Expected rectified(Expected c) {
  for (double& value : c.values) value = std::max(value, 0.0);
  return c;
}

}  // namespace

TEST_CASE("products of all sizes match plain loops, with the first factor in either layout") {
  for (const std::int64_t rows : {1, 5, 6, 12, 13, 37}) {
    for (const std::int64_t columns : {1, 7, 16, 33, 64, 511, 513, 600}) {
      for (const std::int64_t depth : {1, 2, 31, 256, 257, 600}) {
        const Size size{rows, columns, depth};
        const Factors factors(size);
        const Expected expected = plain_product(size, factors.a, factors.b);
        for (const KernelSet& set : kernel_sets()) {
          for (const bool transposed : {false, true}) {
            INFO(set.name << ", " << rows << " x " << columns << ", depth " << depth << ", transposed " << transposed);
            Guarded c(rows, columns, columns + kPad), scratch(kProductScratch);
            Product product = factors.product(size, transposed, scratch);
            product.c = c.data();
            product.c_row = c.stride();
            set.kernels.product(product);
            CHECK(count_wrong(size, c, expected) == 0);
            CHECK(c.is_whole());
            CHECK(scratch.is_whole());
          }
        }
      }
    }
  }
}

TEST_CASE("a factor that was packed earlier, in pieces, gives the same bits") {
  for (const std::int64_t rows : {1, 12, 29}) {
    for (const std::int64_t columns : {1, 33, 64, 600}) {
      for (const std::int64_t depth : {1, 7, 50, 256}) {
        const Size size{rows, columns, depth};
        const Factors factors(size);
        for (const KernelSet& set : kernel_sets()) {
          INFO(set.name << ", " << rows << " x " << columns << ", depth " << depth);
          Guarded c(rows, columns, columns + kPad), again(rows, columns, columns + kPad), scratch(kProductScratch);
          Guarded packed(panels_size(columns, depth));
          for (std::int64_t column = 0; column < columns; column += kPackedColumns) {
            set.kernels.pack({std::min(kPackedColumns, columns - column), depth, factors.b.data() + column,
                              factors.b.stride(), packed.data() + column * depth});
          }
          CHECK(packed.is_whole());
          Product product = factors.product(size, true, scratch);
          product.c = c.data();
          product.c_row = c.stride();
          set.kernels.product(product);
          product.b = nullptr;
          product.packed = packed.data();
          product.c = again.data();
          set.kernels.product(product);
          CHECK(again.is_whole());
          for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns; ++j) REQUIRE(again.at(i, j) == c.at(i, j));
          }
        }
      }
    }
  }
}

TEST_CASE("products of rows with rows match plain loops, with biases and relu") {
  for (const std::int64_t rows : {1, 3, 4, 5, 6, 7, 50}) {
    for (const std::int64_t columns : {1, 2, 3, 4, 10, 24, 33, 65}) {
      for (const std::int64_t depth : {1, 3, 8, 15, 33, 1000, 1024, 1025, 2060}) {
        const Size size{rows, columns, depth};
        Random random(static_cast<std::uint64_t>(rows * 1000 + columns), static_cast<std::uint64_t>(depth));
        Guarded a(rows, depth, depth + kPad), b(columns, depth, depth + kPad), biases(columns);
        a.fill_uniform(random);
        b.fill_uniform(random);
        biases.fill_uniform(random);
        const Expected linear = plain_row_products(size, a, b, biases);
        for (const bool relu : {false, true}) {
          const Expected expected = relu ? rectified(linear) : linear;
          for (const KernelSet& set : kernel_sets()) {
            INFO(set.name << ", " << rows << " x " << columns << ", depth " << depth << ", relu " << relu);
            Guarded c(rows, columns, columns + kPad);
            set.kernels.row_products({rows, columns, depth, a.data(), a.stride(), b.data(), b.stride(), biases.data(),
                                      relu, c.data(), c.stride()});
            CHECK(count_wrong(size, c, expected) == 0);
            CHECK(c.is_whole());
          }
        }
      }
    }
  }
}

TEST_CASE("NaN passes through a product's relu") {
  for (const KernelSet& set : kernel_sets()) {
    INFO(set.name);
    Guarded a(1, 40, 40), b(3, 40, 40), biases(3), c(1, 3, 3);
    a.fill([] { return 1.0f; });
    b.fill([] { return -1.0f; });
    biases.fill([] { return 0.0f; });
    b.at(1, 17) = std::numeric_limits<float>::quiet_NaN();
    set.kernels.row_products({1, 3, 40, a.data(), 40, b.data(), 40, biases.data(), true, c.data(), 3});
    CHECK(c.at(0, 0) == 0.0f);
    CHECK(std::isnan(c.at(0, 1)));
    CHECK(c.at(0, 2) == 0.0f);
  }
}

TEST_CASE("a matrix of any size is transposed, and nothing around the result is written") {
  Random random(1, 1);
  for (const KernelSet& set : kernel_sets()) {
    INFO(set.name);
    for (const Size size : {Size{1, 1, 0}, Size{3, 40, 0}, Size{40, 3, 0}, Size{16, 16, 0}, Size{49, 64, 0},
                            Size{25, 33, 0}, Size{17, 4, 0}}) {
      INFO(size.rows << " x " << size.columns);
      Guarded from(size.rows, size.columns, size.columns + kPad), to(size.columns, size.rows, size.rows + kPad);
      from.fill_uniform(random);
      set.kernels.transpose({size.rows, size.columns, from.data(), from.stride(), to.data(), to.stride()});
      std::int64_t wrong = 0;
      for (std::int64_t row = 0; row < size.rows; ++row) {
        for (std::int64_t column = 0; column < size.columns; ++column) {
          wrong += to.at(column, row) == from.at(row, column) ? 0 : 1;
        }
      }
      CHECK(wrong == 0);
      CHECK(to.is_whole());
    }
  }
}
