#include "tests/lib/backend/backend_cases.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

#include "lib/base/random.h"
#include "lib/graph/initializers.h"
#include "lib/graph/slim.h"
#include "models/models.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/tiles_backend.h"

namespace distmnist {
namespace {

constexpr Activation kNone = Activation::kNone;

slim::Net image_net(std::int64_t height, std::int64_t width, std::int64_t channels) {
  auto net = slim::Net(height * width * channels);
  net.reshape(height, width, channels);
  return net;
}

// Ends a network with five classes.
Graph classify(slim::Net& net) {
  return net.flatten("flatten").fully_connected(5, "pred", kNone).build();
}

Graph one_convolution(std::int64_t in, std::int64_t out, std::array<std::int64_t, 2> kernel,
                      slim::Conv2dOptions options) {
  auto net = image_net(7, 9, in);
  net.conv2d(out, kernel, "conv", options);
  return classify(net);
}

// The second convolution also returns a gradient for its input.
Graph two_convolutions(std::int64_t middle, std::int64_t out, std::array<std::int64_t, 2> kernel,
                       slim::Conv2dOptions options) {
  auto net = image_net(9, 7, 2);
  net.conv2d(middle, {3, 3}, "conv1").conv2d(out, kernel, "conv2", options);
  return classify(net);
}

void add_convolutions(std::vector<BackendCase>& cases) {
  cases.push_back({"5x5 SAME convolution, relu, odd channels", one_convolution(3, 5, {5, 5}, {})});
  cases.push_back({"convolution without activation", one_convolution(3, 5, {3, 3}, {.activation_fn = kNone})});
  cases.push_back({"oblong kernel", one_convolution(1, 4, {3, 5}, {})});
  cases.push_back({"even kernel", one_convolution(2, 4, {4, 2}, {})});
  cases.push_back({"1x1 kernel", one_convolution(5, 7, {1, 1}, {})});
  cases.push_back({"stride 2, SAME", one_convolution(3, 5, {5, 5}, {.stride = 2})});
  cases.push_back({"stride 2, VALID", one_convolution(3, 5, {3, 3}, {.stride = 2, .padding = Padding::kValid})});
  cases.push_back({"VALID", one_convolution(1, 8, {5, 5}, {.padding = Padding::kValid})});
  cases.push_back({"stride above the kernel", one_convolution(2, 3, {1, 1}, {.stride = 2})});
  cases.push_back({"16 to 32 channels", two_convolutions(16, 32, {5, 5}, {})});
  cases.push_back({"17 to 33 channels", two_convolutions(17, 33, {3, 3}, {})});
  cases.push_back({"second convolution of stride 2", two_convolutions(6, 9, {5, 5}, {.stride = 2})});
  cases.push_back({"second convolution VALID", two_convolutions(8, 3, {3, 2}, {.padding = Padding::kValid})});
  cases.push_back({"one sample", two_convolutions(16, 17, {3, 3}, {}), 1});
  cases.push_back({"fifty samples", two_convolutions(8, 16, {3, 3}, {}), 50});

  auto to_classes = image_net(4, 3, 2);
  to_classes.conv2d(6, {4, 3}, "pred", {.padding = Padding::kValid, .activation_fn = kNone});
  cases.push_back({"logits from a convolution", to_classes.build()});

  auto from_flat = slim::Net(6);
  from_flat.conv2d(7, {1, 1}, "conv").fully_connected(5, "pred", kNone);
  cases.push_back({"convolution between flat samples", from_flat.build()});
}

void add_pools(std::vector<BackendCase>& cases) {
  for (const bool max : {true, false}) {
    const std::string kind = max ? "max-pool" : "average pool";
    const auto pool = [&](slim::Net& net, std::array<std::int64_t, 2> kernel, std::int64_t stride) -> slim::Net& {
      return max ? net.max_pool2d(kernel, "pool", stride) : net.avg_pool2d(kernel, "pool", stride);
    };
    for (const std::int64_t channels : {3, 16}) {
      auto simple = image_net(7, 9, 2);
      pool(simple.conv2d(channels, {3, 3}, "conv"), {2, 2}, 2);
      cases.push_back({fmt::format("{} of {} channels", kind, channels), classify(simple)});
      auto overlapping = image_net(8, 7, 1);
      pool(overlapping.conv2d(channels, {3, 3}, "conv", {.activation_fn = kNone}), {3, 2}, 1);
      overlapping.conv2d(4, {3, 3}, "conv2");
      cases.push_back({fmt::format("overlapping {} of {} channels", kind, channels), classify(overlapping)});
    }
    auto first = image_net(6, 5, 2);
    pool(first, {2, 2}, 2).conv2d(3, {3, 3}, "conv");
    cases.push_back({kind + " before all variables", classify(first)});
    auto last = image_net(4, 4, 1);
    pool(last.conv2d(5, {3, 3}, "conv", {.activation_fn = kNone}), {4, 4}, 1);
    cases.push_back({"logits from a " + kind, last.build()});
  }
}

// Convolutions with a relu and a 2x2 max-pool that a backend may fuse, and similar ones that it must not fuse.
void add_pooled_convolutions(std::vector<BackendCase>& cases) {
  const auto add = [&](const std::string& name, slim::Net& net, std::int64_t batch = 2) {
    cases.push_back({name, classify(net), batch});
  };
  auto from_one = image_net(8, 6, 1);
  add("3x3 convolution of one channel and its pool", from_one.conv2d(32, {3, 3}, "conv").max_pool2d({2, 2}, "pool"));
  auto oblong = image_net(6, 4, 1);
  add("3x5 convolution of one channel and its pool, one sample",
      oblong.conv2d(64, {3, 5}, "conv").max_pool2d({2, 2}, "pool"), 1);

  const auto two = [&](std::int64_t height, std::int64_t width, std::int64_t out) {
    auto net = image_net(height, width, 1);
    net.conv2d(32, {5, 5}, "conv1").max_pool2d({2, 2}, "pool1").conv2d(out, {5, 5}, "conv2");
    return net.max_pool2d({2, 2}, "pool2");
  };
  auto even = two(12, 8, 32), odd = two(6, 10, 32), wider = two(8, 4, 64), many = two(4, 4, 32), single = two(8, 8, 32);
  add("two 5x5 convolutions and their pools", even);
  add("two 5x5 convolutions, the second pool of an odd image", odd);
  add("32 to 64 channels and their pools, seven samples", wider, 7);
  add("two 5x5 convolutions and their pools, fifty samples", many, 50);
  add("two 5x5 convolutions and their pools, one sample", single, 1);

  auto of_input = image_net(6, 4, 32);
  add("5x5 convolution of an input of 32 channels and its pool",
      of_input.conv2d(32, {5, 5}, "conv").max_pool2d({2, 2}, "pool"));
  auto linear = image_net(6, 4, 1);
  linear.conv2d(32, {5, 5}, "conv1", {.activation_fn = kNone}).max_pool2d({2, 2}, "pool1");
  add("convolution without activation and its pool", linear);
  auto averaged = image_net(6, 4, 1);
  add("5x5 convolution and an average pool", averaged.conv2d(32, {5, 5}, "conv").avg_pool2d({2, 2}, "pool"));
  auto overlapping = image_net(4, 4, 32);
  add("5x5 convolution of 32 channels and an overlapping pool",
      overlapping.conv2d(32, {5, 5}, "conv").max_pool2d({2, 2}, "pool", 1));
  auto strided = image_net(8, 8, 1);
  add("5x5 convolution of stride 2 and its pool",
      strided.conv2d(32, {5, 5}, "conv", {.stride = 2}).max_pool2d({2, 2}, "pool"));
  auto dropped = image_net(8, 4, 1);
  dropped.conv2d(32, {5, 5}, "conv1").max_pool2d({2, 2}, "pool1").dropout(0.5f, "dropout");
  add("pooled convolution, dropout, pooled convolution",
      dropped.conv2d(32, {5, 5}, "conv2").max_pool2d({2, 2}, "pool2"));
  auto behind = image_net(4, 4, 1);
  behind.conv2d(3, {3, 3}, "conv1").conv2d(1, {1, 1}, "conv2").conv2d(32, {3, 3}, "conv3");
  add("pooled convolution of one channel that is not the first", behind.max_pool2d({2, 2}, "pool"));

  auto last = image_net(2, 2, 32);
  last.conv2d(32, {5, 5}, "pred").max_pool2d({2, 2}, "pool");
  cases.push_back({"logits from a pooled convolution", last.build()});
}

void add_flat_layers(std::vector<BackendCase>& cases) {
  for (const std::int64_t batch : {1, 3, 50}) {
    auto net = slim::Net(37);
    net.fully_connected(19, "hidden").fully_connected(5, "pred", kNone);
    cases.push_back({fmt::format("fully connected, {} samples", batch), net.build(), batch});
  }
  auto rectified = slim::Net(12);
  cases.push_back({"relu at the very end", rectified.fully_connected(5, "pred").build()});

  auto image_relu = image_net(5, 6, 2);
  image_relu.conv2d(3, {3, 3}, "conv", {.activation_fn = kNone}).relu("relu").max_pool2d({2, 2}, "pool");
  cases.push_back({"relu layer in an image", classify(image_relu)});
  auto first_relu = slim::Net(9);
  cases.push_back(
      {"relu layer before all variables", first_relu.relu("relu").fully_connected(5, "pred", kNone).build()});
}

void add_dropouts(std::vector<BackendCase>& cases) {
  auto on_input = image_net(5, 6, 2);
  on_input.dropout(0.7f, "dropout").conv2d(3, {3, 3}, "conv");
  cases.push_back({"dropout of the input", classify(on_input)});
  auto on_image = image_net(5, 6, 2);
  on_image.conv2d(17, {3, 3}, "conv").dropout(0.5f, "dropout").max_pool2d({2, 2}, "pool");
  cases.push_back({"dropout of an image", classify(on_image)});
  auto on_flat = slim::Net(21);
  on_flat.fully_connected(16, "hidden").dropout(0.5f, "dropout1").fully_connected(8, "hidden2");
  on_flat.dropout(0.25f, "dropout2").fully_connected(5, "pred", kNone);
  cases.push_back({"two dropouts of flat samples", on_flat.build()});
}

}  // namespace

std::vector<BackendCase> backend_cases() {
  std::vector<BackendCase> cases;
  add_convolutions(cases);
  add_pools(cases);
  add_pooled_convolutions(cases);
  add_flat_layers(cases);
  add_dropouts(cases);
  cases.push_back({"softmax", softmax(), 50});
  cases.push_back({"mlp", mlp(), 50});
  cases.push_back({"mnist_cnn", mnist_cnn(), 3});
  return cases;
}

const std::vector<std::string>& backends_under_test() {
  static const std::vector<std::string> names = [] {
    if (only_instruction_set()) return std::vector<std::string>{"cpu"};
    std::vector<std::string> all = {"reference", "cpu"};
#ifdef DISTMNIST_HAS_TILES
    all.push_back("tiles");
#endif
    return all;
  }();
  return names;
}

std::unique_ptr<Backend> make_named_backend(const std::string& name) {
#ifdef DISTMNIST_HAS_TILES
  if (name == "tiles") return make_tiles_backend();
#endif
  return make_backend(name, {}, {}, {.instruction_set = only_instruction_set(), .builtin_kernels = true});
}

Samples make_samples(const Graph& graph, std::int64_t count, std::uint64_t seed) {
  Random random(seed, 1000);
  Samples samples{.images = std::vector<float>(static_cast<std::size_t>(count * graph.input.size())),
                  .labels = std::vector<std::uint8_t>(static_cast<std::size_t>(count))};
  std::ranges::generate(samples.images, [&] { return 2.0f * random.uniform() - 1.0f; });
  const auto classes = static_cast<std::uint64_t>(graph.output().channels);
  std::ranges::generate(samples.labels, [&] { return static_cast<std::uint8_t>(random.below(classes)); });
  return samples;
}

std::vector<float> make_parameters(const Graph& graph, std::uint64_t seed) {
  std::vector<float> block(static_cast<std::size_t>(graph.num_parameters));
  initialize(graph, seed, block);
  Random random(seed, 1001);
  for (const Variable& variable : graph.variables) {
    if (variable.fan_in != 0) continue;
    std::ranges::generate(slice(std::span(block), variable.range), [&] { return 0.2f * random.uniform() - 0.1f; });
  }
  return block;
}

std::unique_ptr<Executor> make_executor(const std::string& backend, const Graph& graph, const CompileOptions& options,
                                        const std::vector<float>& parameters) {
  auto executor = make_named_backend(backend)->compile(graph, options);
  executor->load({0, graph.num_parameters}, parameters);
  return executor;
}

std::vector<float> read_all(const Executor& executor, const Graph& graph) {
  std::vector<float> block(static_cast<std::size_t>(graph.num_parameters));
  executor.read({0, graph.num_parameters}, block);
  return block;
}

std::vector<float> predict(Executor& executor, const Graph& graph, const Samples& samples) {
  std::vector<float> logits(samples.labels.size() * static_cast<std::size_t>(graph.output().size()));
  executor.predict(std::ssize(samples.labels), samples.images, logits);
  return logits;
}

TrainOutcome train(Executor& executor, const Batch& batch) {
  TrainOutcome outcome{.result = executor.train_step(batch, {}), .gradients = {}};
  outcome.gradients.assign(executor.gradients().begin(), executor.gradients().end());
  return outcome;
}

double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace distmnist
