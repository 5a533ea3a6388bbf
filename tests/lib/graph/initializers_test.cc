#include "lib/graph/initializers.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "lib/graph/slim.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

Graph make_graph() {
  auto net = slim::Net(16 * 16);
  net.reshape(16, 16, 1).conv2d(8, {5, 5}, "conv").flatten("flatten").fully_connected(20, "pred");
  return net.build();
}

std::vector<float> initial(const Graph& graph, std::uint64_t seed) {
  // Starts with a different value, so that a number that is not written is noticed.
  std::vector<float> block(static_cast<std::size_t>(graph.num_parameters), 99.0f);
  initialize(graph, seed, block);
  return block;
}

}  // namespace

TEST_CASE("weights are spread evenly over Xavier's range, and biases are zero") {
  const Graph graph = make_graph();
  const std::vector<float> block = initial(graph, 1);
  for (const Variable& variable : graph.variables) {
    const auto values = slice(std::span(block), variable.range);
    if (variable.fan_in == 0) {
      CHECK(std::ranges::all_of(values, [](float value) { return value == 0.0f; }));
      continue;
    }
    const double limit = std::sqrt(6.0 / static_cast<double>(variable.fan_in + variable.fan_out));
    CHECK(std::ranges::max(values) <= limit);
    CHECK(std::ranges::max(values) > 0.95 * limit);
    CHECK(std::ranges::min(values) >= -limit);
    CHECK(std::ranges::min(values) < -0.95 * limit);
    if (values.size() < 10000) continue;
    const double count = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    const double square = std::inner_product(values.begin(), values.end(), values.begin(), 0.0) / count;
    // Five standard errors of the mean and variance of a uniform variable.
    CHECK(std::abs(mean) < 5 * limit / std::sqrt(3 * count));
    CHECK(square == Approx(limit * limit / 3).epsilon(5 * 0.9 / std::sqrt(count)));
  }
}

TEST_CASE("initial values depend on the seed only") {
  const Graph graph = make_graph();
  CHECK(initial(graph, 7) == initial(graph, 7));
  CHECK(initial(graph, 7) != initial(graph, 8));
}

TEST_CASE("the first initial values of seed 0 never change") {
  // From a separate computation of the same streams. A run and its checkpoints depend on these values.
  const Graph graph = make_graph();
  const std::vector<float> block = initial(graph, 0);
  CHECK(block[0] == -0.117997028f);
  CHECK(block[1] == -0.0146623328f);
  CHECK(block[208] == 0.0361646786f);
}
