#include "lib/backend/dropout_mask.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/catch.h"

using namespace distmnist;

namespace {

constexpr std::int64_t kSize = 1000;

Dropout layer(float keep_prob, std::uint64_t stream = 0) {
  return {.scope = "dropout",
          .input = {.channels = kSize},
          .output = {.channels = kSize},
          .keep_prob = keep_prob,
          .stream = stream};
}

std::vector<float> mask(const CompileOptions& options, const Dropout& dropout, std::uint64_t first_sample,
                        std::int64_t batch) {
  std::vector<float> factors(static_cast<std::size_t>(batch * kSize), -1.0f);
  fill_dropout_mask(options, dropout, first_sample, factors);
  return factors;
}

}  // namespace

TEST_CASE("each number is kept with the given probability and scaled by its inverse") {
  for (const float keep_prob : {0.1f, 0.5f, 0.8f}) {
    const std::vector<float> factors = mask({}, layer(keep_prob), 0, 100);
    const auto kept = std::ranges::count(factors, 1.0f / keep_prob);
    CHECK(kept + std::ranges::count(factors, 0.0f) == std::ssize(factors));
    const double count = static_cast<double>(factors.size());
    const double five_sigma = 5 * std::sqrt(keep_prob * (1 - keep_prob) / count);
    CHECK(std::abs(static_cast<double>(kept) / count - keep_prob) < five_sigma);
  }
}

TEST_CASE("a keep_prob of one keeps everything") {
  const std::vector<float> factors = mask({}, layer(1.0f), 0, 10);
  CHECK(std::ranges::all_of(factors, [](float factor) { return factor == 1.0f; }));
}

TEST_CASE("a sample has the same mask in any batch") {
  const std::vector<float> together = mask({.seed = 3}, layer(0.5f), 40, 4);
  const std::vector<float> alone = mask({.seed = 3}, layer(0.5f), 42, 1);
  CHECK(std::ranges::equal(alone, std::span(together).subspan(2 * kSize, kSize)));
}

TEST_CASE("seeds, workers, layers and samples have different masks") {
  const std::vector<std::vector<float>> masks = {
      mask({}, layer(0.5f), 0, 1),    mask({.seed = 1}, layer(0.5f), 0, 1), mask({.stream = 1}, layer(0.5f), 0, 1),
      mask({}, layer(0.5f, 1), 0, 1), mask({}, layer(0.5f), 1, 1),
  };
  for (std::size_t i = 0; i < masks.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      std::int64_t equal = 0;
      for (std::size_t k = 0; k < masks[i].size(); ++k) equal += masks[i][k] == masks[j][k];
      // Independent masks of 1000 coins agree in 500 +- 5 * 16 places.
      CHECK(std::abs(equal - 500) < 80);
    }
  }
}
