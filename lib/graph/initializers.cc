#include "lib/graph/initializers.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "lib/base/random.h"

namespace distmnist {

void initialize(const Graph& graph, std::uint64_t seed, std::span<float> block) {
  assert(static_cast<std::int64_t>(block.size()) == graph.num_parameters);
  for (std::size_t i = 0; i < graph.variables.size(); ++i) {
    const Variable& variable = graph.variables[i];
    const std::span<float> values = slice(block, variable.range);
    if (variable.fan_in == 0 && variable.fan_out == 0) {
      std::ranges::fill(values, 0.0f);
      continue;
    }
    const auto limit = static_cast<float>(std::sqrt(6.0 / static_cast<double>(variable.fan_in + variable.fan_out)));
    // 2u - 1 is exact in float, so the product is the only rounding and every machine draws the same numbers.
    Random random(seed, i);
    std::ranges::generate(values, [&] { return (2.0f * random.uniform() - 1.0f) * limit; });
  }
}

}  // namespace distmnist
