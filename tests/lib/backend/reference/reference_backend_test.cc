// Compares the reference backend with numbers worked out by hand. gradient_test.cc checks its gradients.
#include "lib/backend/reference/reference_backend.h"

#include "lib/graph/slim.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

constexpr Activation kNone = Activation::kNone;

std::vector<float> logits_of(const Graph& graph, const std::vector<float>& parameters,
                             const std::vector<float>& image) {
  const auto executor = make_executor("reference", graph, {.max_batch_size = 1}, parameters);
  return predict(*executor, graph, {.images = image, .labels = {0}});
}

slim::Net image_net(std::int64_t height, std::int64_t width, std::int64_t channels) {
  auto net = slim::Net(height * width * channels);
  net.reshape(height, width, channels);
  return net;
}

}  // namespace

TEST_CASE("it reports its name") {
  CHECK(make_reference_backend()->name() == "reference");
}

TEST_CASE("a convolution is a sliding product without flipping the kernel") {
  // Image 1 2 3 / 4 5 6, kernel 1 10 / 100 1000, bias 0.5; with VALID padding the output has two pixels.
  const Graph graph = image_net(2, 3, 1)
                          .conv2d(1, {2, 2}, "conv", {.padding = Padding::kValid, .activation_fn = kNone})
                          .flatten("flatten")
                          .build();
  CHECK(logits_of(graph, {1, 10, 100, 1000, 0.5f}, {1, 2, 3, 4, 5, 6}) == std::vector<float>{5421.5f, 6532.5f});
}

TEST_CASE("SAME padding surrounds the image with zeros, with the odd one after it") {
  const Graph graph = image_net(1, 3, 1).conv2d(1, {1, 2}, "conv", {.activation_fn = kNone}).flatten("flatten").build();
  CHECK(logits_of(graph, {1, 10, 0}, {1, 2, 3}) == std::vector<float>{21, 32, 3});
}

TEST_CASE("a stride skips positions") {
  const Graph graph =
      image_net(1, 5, 1).conv2d(1, {1, 1}, "conv", {.stride = 2, .activation_fn = kNone}).flatten("flatten").build();
  CHECK(logits_of(graph, {2, 1}, {1, 2, 3, 4, 5}) == std::vector<float>{3, 7, 11});
}

TEST_CASE("channels are summed, and weights are in OIHW order") {
  const Graph graph = image_net(1, 1, 2).conv2d(2, {1, 1}, "conv", {.activation_fn = kNone}).build();
  CHECK(logits_of(graph, {1, 10, 100, 1000, 0, 0}, {2, 3}) == std::vector<float>{32, 3200});
}

TEST_CASE("a max-pool takes the largest number of each window, an average pool the mean") {
  const std::vector<float> image = {1, -2, 3, 4, 5, 0, -7, -8, 9, 9};  // 2 x 5; the last column is in no window
  CHECK(logits_of(image_net(2, 5, 1)
                      .max_pool2d({2, 2}, "pool")
                      .flatten("flatten")
                      .relu("relu")
                      .fully_connected(2, "pred", kNone)
                      .build(),
                  {1, 0, 0, 1, 0, 0}, image) == std::vector<float>{1, 9});
  CHECK(logits_of(
            image_net(2, 5, 1).avg_pool2d({2, 2}, "pool").flatten("flatten").fully_connected(2, "pred", kNone).build(),
            {1, 0, 0, 1, 0, 0}, image) == std::vector<float>{-2, 2});
}

TEST_CASE("flatten keeps channels, rows and columns in this order") {
  const Graph graph = image_net(1, 2, 2).flatten("flatten").fully_connected(2, "pred", kNone).build();
  CHECK(logits_of(graph, {1, 10, 100, 1000, 0, 0, 0, 0, 0, 5}, {1, 2, 3, 4}) == std::vector<float>{4321, 5});
}

TEST_CASE("a fully connected layer is a product with [out, in] weights, and relu clips at zero") {
  const Graph graph = slim::Net(2).fully_connected(3, "pred").build();
  CHECK(logits_of(graph, {1, 2, 3, 4, -5, -6, 0.5f, 0, 0}, {10, 1}) == std::vector<float>{12.5f, 34, 0});
}
