#include "lib/math/mean.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lib/base/random.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

// Numbers whose sum depends on the order of addition.
Floats noise(std::size_t size, std::uint64_t stream) {
  Random random(7, stream);
  Floats out(size);
  for (float& value : out) value = std::ldexp(static_cast<float>(random.uniform()) - 0.5f, int(random.below(20)));
  return out;
}

std::vector<std::uint32_t> bits_of(const Floats& values) {
  std::vector<std::uint32_t> out;
  for (const float value : values) out.push_back(std::bit_cast<std::uint32_t>(value));
  return out;
}

// Writes the mean into the first array.
void mean_into_first(std::span<float> first, const std::vector<std::span<const float>>& others) {
  for (const std::span<const float> other : others) add_f32(other, first);
  divide(first, static_cast<float>(1 + others.size()));
}

}  // namespace

TEST_CASE("the mean of several arrays replaces the first one and does not change the others") {
  Floats first = {1, 2, 3};
  const Floats second = {3, 2, -3}, third = {5, 2, 6};
  mean_into_first(first, {second, third});
  CHECK(first == Floats{3, 2, 2});
  CHECK(second == Floats{3, 2, -3});
  CHECK(third == Floats{5, 2, 6});
}

TEST_CASE("the mean of one array is that array, bit for bit") {
  Floats first = {1e-38f, -0.0f, 3e38f};
  const auto bits = bits_of(first);
  mean_into_first(first, {});
  CHECK(bits_of(first) == bits);
}

TEST_CASE("the mean of empty arrays is empty") {
  Floats nothing;
  mean_into_first(nothing, {nothing, nothing});
  CHECK(nothing.empty());
}

TEST_CASE("the sum is computed in the order of the arrays, in single precision") {
  const auto mean = [](float a, float b, float c) {
    Floats first = {a};
    const Floats second = {b}, third = {c};
    mean_into_first(first, {second, third});
    return first[0];
  };
  CHECK(mean(1e8f, -1e8f, 3) == 1);
  CHECK(mean(1e8f, 3, -1e8f) == 0);  // 1e8 + 3 is 1e8.
}

TEST_CASE("pieces of any size give the same bits as the whole array") {
  constexpr std::size_t kSize = 3 * 4096 + 777;  // not a multiple of any vector
  const Floats second = noise(kSize, 2), third = noise(kSize, 3);
  Floats whole = noise(kSize, 1);
  mean_into_first(whole, {second, third});
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, std::size_t{4096}}) {
    CAPTURE(piece);
    Floats cut = noise(kSize, 1);
    for (std::size_t begin = 0; begin < kSize; begin += piece) {
      const std::size_t size = std::min(piece, kSize - begin);
      mean_into_first(std::span(cut).subspan(begin, size),
                      {std::span(second).subspan(begin, size), std::span(third).subspan(begin, size)});
    }
    CHECK(bits_of(cut) == bits_of(whole));
  }
  const Floats first = noise(kSize, 1);
  for (std::size_t i = 0; i < kSize; ++i) REQUIRE(whole[i] == ((first[i] + second[i]) + third[i]) / 3.0f);
}

}  // namespace distmnist
