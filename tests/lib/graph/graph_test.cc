#include "lib/graph/graph.h"

#include "lib/graph/slim.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

// Contains every kind of layer once. describe() must distinguish all values of each argument.
struct Choices {
  std::int64_t filters = 3;
  std::int64_t stride = 1;
  Padding padding = Padding::kSame;
  Activation activation = Activation::kRelu;
  float keep_prob = 0.5f;
  std::string scope = "conv";
  bool max_pool = true;
  std::int64_t pool_stride = 2;
};

Graph make(const Choices& choices) {
  auto net = slim::Net(2 * 9 * 8);
  net.reshape(9, 8, 2);
  net.conv2d(choices.filters, {3, 3}, choices.scope,
             {.stride = choices.stride, .padding = choices.padding, .activation_fn = choices.activation});
  if (choices.max_pool) {
    net.max_pool2d({2, 2}, "pool", choices.pool_stride);
  } else {
    net.avg_pool2d({2, 2}, "pool", choices.pool_stride);
  }
  net.relu("relu").flatten("flatten").dropout(choices.keep_prob, "dropout");
  net.fully_connected(4, "pred", Activation::kNone);
  return net.build();
}

}  // namespace

TEST_CASE("a layer's scope and output are read without knowing its kind") {
  const Graph graph = make({});
  REQUIRE(graph.layers.size() == 6);
  CHECK(scope_of(graph.layers[0]) == "conv");
  CHECK(output_of(graph.layers[0]) == Shape{3, 9, 8});
  CHECK(scope_of(graph.layers[3]) == "flatten");
  CHECK(output_of(graph.layers[3]) == Shape{48, 1, 1});
  CHECK(graph.output() == Shape{4, 1, 1});
}

TEST_CASE("graphs that compute the same have the same description") {
  CHECK(describe(make({})) == describe(make({})));
}

TEST_CASE("graphs that compute different results have different descriptions") {
  const std::vector<Choices> choices = {{},
                                        {.filters = 4},
                                        {.stride = 2},
                                        {.padding = Padding::kValid},
                                        {.activation = Activation::kNone},
                                        {.keep_prob = 0.5000001f},
                                        {.scope = "conv1"},
                                        {.max_pool = false},
                                        {.pool_stride = 1}};
  for (std::size_t i = 0; i < choices.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(describe(make(choices[i])) != describe(make(choices[j])));
  }
}

TEST_CASE("a description distinguishes an image from its transpose") {
  const auto make_image = [](std::int64_t height, std::int64_t width) {
    auto net = slim::Net(height * width);
    return net.reshape(height, width, 1).flatten("flatten").fully_connected(2, "pred", Activation::kNone).build();
  };
  CHECK(describe(make_image(4, 6)) != describe(make_image(6, 4)));
}

TEST_CASE("a description fits in a log line") {
  CHECK(describe(make({})).size() < 1000);
}
