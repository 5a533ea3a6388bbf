#include "lib/graph/slim.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

slim::Net image_net(std::int64_t height, std::int64_t width, std::int64_t channels = 1) {
  auto net = slim::Net(height * width * channels);
  net.reshape(height, width, channels);
  return net;
}

Conv2d conv_of(std::int64_t height, std::int64_t width, std::array<std::int64_t, 2> kernel,
               slim::Conv2dOptions options) {
  auto net = image_net(height, width);
  const Graph graph = net.conv2d(1, kernel, "conv", options).flatten("flatten").fully_connected(2, "pred").build();
  return std::get<Conv2d>(graph.layers[0]);
}

bool refuses(const std::string& text, const std::function<void()>& action) {
  return fails_with(ExitCode::kUsage, text, action);
}

}  // namespace

TEST_CASE("by default a convolution keeps the size of the image and has a relu") {
  const Conv2d conv = conv_of(28, 20, {5, 3}, {});
  CHECK(conv.output == Shape{1, 28, 20});
  CHECK(conv.window ==
        Window{.height = 5, .width = 3, .stride = 1, .pad_top = 2, .pad_bottom = 2, .pad_left = 1, .pad_right = 1});
  CHECK(conv.activation == Activation::kRelu);
}

TEST_CASE("SAME padding adds the odd pixel after the image") {
  const Conv2d conv = conv_of(28, 7, {5, 4}, {.stride = 2});
  CHECK(conv.output == Shape{1, 14, 4});
  CHECK(conv.window.pad_top == 1);
  CHECK(conv.window.pad_bottom == 2);
  CHECK(conv.window.pad_left == 1);
  CHECK(conv.window.pad_right == 2);
}

TEST_CASE("SAME padding is zero if the stride skips more than the kernel covers") {
  const Conv2d conv = conv_of(6, 6, {1, 1}, {.stride = 2});
  CHECK(conv.output == Shape{1, 3, 3});
  CHECK(conv.window == Window{.height = 1, .width = 1, .stride = 2});
}

TEST_CASE("VALID padding drops pixels that no whole window covers") {
  const Conv2d conv = conv_of(10, 9, {3, 3}, {.stride = 2, .padding = Padding::kValid});
  CHECK(conv.output == Shape{1, 4, 4});
  CHECK(conv.window == Window{.height = 3, .width = 3, .stride = 2});
}

TEST_CASE("pools are VALID with stride 2 by default") {
  auto net = image_net(7, 9, 3);
  const Graph graph = net.max_pool2d({2, 2}, "max").avg_pool2d({2, 3}, "avg", 1).flatten("flatten").build();
  CHECK(std::get<MaxPool2d>(graph.layers[0]).output == Shape{3, 3, 4});
  CHECK(std::get<AvgPool2d>(graph.layers[1]).input == Shape{3, 3, 4});
  CHECK(std::get<AvgPool2d>(graph.layers[1]).output == Shape{3, 2, 2});
}

TEST_CASE("variables are stored without gaps, with slim's names and fans") {
  auto net = image_net(4, 4, 2);
  const Graph graph = net.conv2d(3, {5, 3}, "conv1").flatten("flatten").fully_connected(7, "pred").build();
  REQUIRE(graph.variables.size() == 4);
  const auto& [weights, biases, matrix, last] =
      std::tie(graph.variables[0], graph.variables[1], graph.variables[2], graph.variables[3]);
  CHECK(weights.name == "conv1/weights");
  CHECK(weights.shape == std::vector<std::int64_t>{3, 2, 5, 3});
  CHECK(weights.range == Range{0, 90});
  CHECK(weights.fan_in == 2 * 15);
  CHECK(weights.fan_out == 3 * 15);
  CHECK(biases.name == "conv1/biases");
  CHECK(biases.range == Range{90, 3});
  CHECK(biases.fan_in + biases.fan_out == 0);
  CHECK(matrix.name == "pred/weights");
  CHECK(matrix.shape == std::vector<std::int64_t>{7, 48});
  CHECK(matrix.range == Range{93, 7 * 48});
  CHECK(matrix.fan_in == 48);
  CHECK(matrix.fan_out == 7);
  CHECK(last.range == Range{93 + 7 * 48, 7});
  CHECK(graph.num_parameters == 93 + 7 * 48 + 7);
}

TEST_CASE("two dropout layers have different streams") {
  auto net = slim::Net(8);
  const Graph graph = net.dropout(0.5f, "a").dropout(0.5f, "b").build();
  CHECK(std::get<Dropout>(graph.layers[0]).stream != std::get<Dropout>(graph.layers[1]).stream);
}

TEST_CASE("an added layer keeps the shape and its own values; scope and stream are set") {
  auto net = image_net(4, 3, 2);
  const Graph graph = net.relu("relu")
                          .add(Dropout{.scope = "unused", .keep_prob = 0.25f, .stream = 7}, "dropout")
                          .flatten("flatten")
                          .build();
  const Dropout& dropout = std::get<Dropout>(graph.layers[1]);
  CHECK(dropout.scope == "dropout");
  CHECK(dropout.input == Shape{2, 4, 3});
  CHECK(dropout.output == Shape{2, 4, 3});
  CHECK(dropout.keep_prob == 0.25f);
  CHECK(dropout.stream == 1);
}

TEST_CASE("an added layer with a value outside its range, or with a scope that is in use, is refused") {
  auto net = slim::Net(4);
  net.relu("relu");
  CHECK(refuses("layer dropout: keep_prob is 2;", [&] { net.add(Dropout{.keep_prob = 2}, "dropout"); }));
  CHECK(refuses("two layers have the scope relu", [&] { net.add(Relu{}, "relu"); }));
}

TEST_CASE("a reshape that changes the size is refused with both sizes") {
  auto net = slim::Net(784);
  CHECK(refuses("28x27x1 changes the size of the input, which is 784", [&] { net.reshape(28, 27, 1); }));
  CHECK(refuses("changes the size", [&] { net.reshape(-28, -28, 1); }));
}

TEST_CASE("a reshape after a layer is refused") {
  auto net = slim::Net(4);
  net.relu("relu");
  CHECK(refuses("after layer relu", [&] { net.reshape(2, 2, 1); }));
}

TEST_CASE("an unpadded window larger than its input is refused with both sizes") {
  auto net = image_net(4, 3);
  CHECK(refuses("layer pool: the 2x4 window is larger than its 4x3 input", [&] { net.max_pool2d({2, 4}, "pool"); }));
  CHECK(refuses("larger than its 4x3 input", [&] { net.avg_pool2d({5, 1}, "pool"); }));
  CHECK(refuses("larger", [&] { net.conv2d(1, {5, 5}, "conv", {.padding = Padding::kValid}); }));
}

TEST_CASE("a scope used twice or empty is refused") {
  auto net = slim::Net(4);
  net.fully_connected(3, "fc");
  CHECK(refuses("two layers have the scope fc", [&] { net.relu("fc"); }));
  CHECK(refuses("empty scope", [&] { net.relu(""); }));
}

TEST_CASE("sizes below one are refused") {
  CHECK(refuses("0 numbers", [] { slim::Net(0); }));
  auto net = image_net(4, 4);
  CHECK(refuses("number of filters is 0", [&] { net.conv2d(0, {3, 3}, "conv"); }));
  CHECK(refuses("kernel height is 0", [&] { net.conv2d(1, {0, 3}, "conv"); }));
  CHECK(refuses("stride is 0", [&] { net.max_pool2d({2, 2}, "pool", 0); }));
  net.flatten("flatten");
  CHECK(refuses("number of outputs is -1", [&] { net.fully_connected(-1, "fc"); }));
}

TEST_CASE("a fully connected layer after an image requires a flatten") {
  auto net = image_net(4, 4);
  CHECK(refuses("put a flatten before it", [&] { net.fully_connected(3, "fc"); }));
}

TEST_CASE("a keep_prob outside (0, 1] is refused") {
  auto net = slim::Net(4);
  for (const float keep_prob : {0.0f, -0.5f, 1.5f, std::numeric_limits<float>::quiet_NaN()}) {
    CHECK(refuses("keep_prob", [&] { net.dropout(keep_prob, "dropout"); }));
  }
}

TEST_CASE("a model that does not end in classes is refused") {
  CHECK(refuses("no layers", [] { slim::Net(4).build(); }));
  CHECK(refuses("one per class", [] { image_net(4, 4).relu("relu").build(); }));
  CHECK(refuses("ends in 257x1x1", [] { slim::Net(4).fully_connected(257, "pred").build(); }));
  CHECK(refuses("ends in 1x1x1", [] { slim::Net(4).fully_connected(1, "pred").build(); }));
}
