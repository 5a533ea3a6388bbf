#include "lib/graph/slim.h"

#include <algorithm>
#include <utility>

#include "lib/base/error.h"

namespace distmnist::slim {
namespace {

constexpr std::int64_t kMaxClasses = 256;  // labels are bytes

void require_positive(const std::string& scope, const char* what, std::int64_t value) {
  if (value < 1) fail(ExitCode::kUsage, "layer {}: {} is {}; give a number above 0", scope, what, value);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

struct Extent {
  std::int64_t output = 0;
  std::int64_t before = 0;  // padding, in pixels
  std::int64_t after = 0;
};

// The output size and padding along one axis, by TensorFlow's rules for VALID and SAME.
Extent extent(std::int64_t input, std::int64_t kernel, std::int64_t stride, Padding padding) {
  if (padding == Padding::kValid) return {.output = (input - kernel) / stride + 1};
  const std::int64_t output = ceil_div(input, stride);
  const std::int64_t total = std::max<std::int64_t>((output - 1) * stride + kernel - input, 0);
  return {.output = output, .before = total / 2, .after = total - total / 2};
}

struct Placed {
  Window window;
  Shape output;
};

// How a window moves over its input.
struct Sliding {
  std::array<std::int64_t, 2> kernel;  // height, width
  std::int64_t stride = 1;
  Padding padding = Padding::kValid;
};

// Places a window over `input`. Error (kUsage) if it is empty or, unpadded, larger than its input.
Placed place(const std::string& scope, const Shape& input, const Sliding& sliding, std::int64_t channels) {
  const auto& [kernel, stride, padding] = sliding;
  require_positive(scope, "the kernel height", kernel[0]);
  require_positive(scope, "the kernel width", kernel[1]);
  require_positive(scope, "the stride", stride);
  if (padding == Padding::kValid && (kernel[0] > input.height || kernel[1] > input.width)) {
    fail(ExitCode::kUsage,
         "layer {}: the {}x{} window is larger than its {}x{} input; use a smaller window or SAME padding", scope,
         kernel[0], kernel[1], input.height, input.width);
  }
  const Extent rows = extent(input.height, kernel[0], stride, padding);
  const Extent columns = extent(input.width, kernel[1], stride, padding);
  return {.window = {.height = kernel[0],
                     .width = kernel[1],
                     .stride = stride,
                     .pad_top = rows.before,
                     .pad_bottom = rows.after,
                     .pad_left = columns.before,
                     .pad_right = columns.after},
          .output = {.channels = channels, .height = rows.output, .width = columns.output}};
}

}  // namespace

Net::Net(std::int64_t input_size) {
  if (input_size < 1) fail(ExitCode::kUsage, "a model's input has {} numbers; give a number above 0", input_size);
  shape_ = graph_.input = {.channels = input_size};
}

Net& Net::reshape(std::int64_t height, std::int64_t width, std::int64_t channels) {
  if (!graph_.layers.empty()) {
    fail(ExitCode::kUsage, "reshape to {}x{}x{} after layer {}: only the input can be reshaped; call reshape first",
         height, width, channels, scope_of(graph_.layers.back()));
  }
  if (height < 1 || width < 1 || channels < 1 || height * width * channels != shape_.size()) {
    fail(ExitCode::kUsage, "reshape to {}x{}x{} changes the size of the input, which is {} numbers", height, width,
         channels, shape_.size());
  }
  shape_ = graph_.input = {.channels = channels, .height = height, .width = width};
  return *this;
}

Net& Net::conv2d(std::int64_t filters, std::array<std::int64_t, 2> kernel, const std::string& scope,
                 const Conv2dOptions& options) {
  claim_scope(scope);
  require_positive(scope, "the number of filters", filters);
  const Placed placed = place(scope, shape_, {kernel, options.stride, options.padding}, filters);
  const std::int64_t area = kernel[0] * kernel[1];
  Conv2d layer{.scope = scope,
               .input = shape_,
               .output = placed.output,
               .window = placed.window,
               .activation = options.activation_fn,
               .weights = add_variable(scope + "/weights", {filters, shape_.channels, kernel[0], kernel[1]},
                                       shape_.channels * area, filters * area),
               .biases = add_variable(scope + "/biases", {filters}, 0, 0)};
  return append(std::move(layer));
}

Net& Net::max_pool2d(std::array<std::int64_t, 2> kernel, const std::string& scope, std::int64_t stride) {
  claim_scope(scope);
  const Placed placed = place(scope, shape_, {kernel, stride, Padding::kValid}, shape_.channels);
  return append(MaxPool2d{.scope = scope, .input = shape_, .output = placed.output, .window = placed.window});
}

Net& Net::avg_pool2d(std::array<std::int64_t, 2> kernel, const std::string& scope, std::int64_t stride) {
  claim_scope(scope);
  const Placed placed = place(scope, shape_, {kernel, stride, Padding::kValid}, shape_.channels);
  return append(AvgPool2d{.scope = scope, .input = shape_, .output = placed.output, .window = placed.window});
}

Net& Net::flatten(const std::string& scope) {
  claim_scope(scope);
  return append(Flatten{.scope = scope, .input = shape_, .output = {.channels = shape_.size()}});
}

Net& Net::fully_connected(std::int64_t outputs, const std::string& scope, Activation activation_fn) {
  claim_scope(scope);
  require_positive(scope, "the number of outputs", outputs);
  if (shape_.height != 1 || shape_.width != 1) {
    fail(ExitCode::kUsage, "layer {}: its input is an image of {}x{}x{}; put a flatten before it", scope, shape_.height,
         shape_.width, shape_.channels);
  }
  FullyConnected layer{
      .scope = scope,
      .input = shape_,
      .output = {.channels = outputs},
      .activation = activation_fn,
      .weights = add_variable(scope + "/weights", {outputs, shape_.channels}, shape_.channels, outputs),
      .biases = add_variable(scope + "/biases", {outputs}, 0, 0)};
  return append(std::move(layer));
}

Net& Net::dropout(float keep_prob, const std::string& scope) {
  return add(Dropout{.keep_prob = keep_prob}, scope);
}

Net& Net::relu(const std::string& scope) {
  return add(Relu{}, scope);
}

Net& Net::add(ElementwiseLayer layer, const std::string& scope) {
  claim_scope(scope);
  // The layer's index is its mask stream, so that no two dropout layers of a graph share masks.
  if (auto* dropout = std::get_if<Dropout>(&layer)) dropout->stream = graph_.layers.size();
  return std::visit(
      [&](auto& each) -> Net& {
        each.scope = scope;
        each.input = each.output = shape_;
        check_values(layer);
        return append(std::move(each));
      },
      layer);
}

Graph Net::build() const {
  if (graph_.layers.empty()) fail(ExitCode::kUsage, "the model has no layers; add at least one");
  if (shape_.height != 1 || shape_.width != 1 || shape_.channels < 2 || shape_.channels > kMaxClasses) {
    fail(ExitCode::kUsage,
         "the model ends in {}x{}x{} (channels, height, width); end it in 2 to {} numbers, one per class",
         shape_.channels, shape_.height, shape_.width, kMaxClasses);
  }
  return graph_;
}

Net& Net::append(Layer layer) {
  shape_ = output_of(layer);
  graph_.layers.push_back(std::move(layer));
  return *this;
}

Range Net::add_variable(const std::string& name, std::vector<std::int64_t> shape, std::int64_t fan_in,
                        std::int64_t fan_out) {
  Range range{.offset = graph_.num_parameters, .size = 1};
  for (const std::int64_t dimension : shape) range.size *= dimension;
  graph_.variables.push_back(
      {.name = name, .shape = std::move(shape), .range = range, .fan_in = fan_in, .fan_out = fan_out});
  graph_.num_parameters = range.end();
  return range;
}

void Net::claim_scope(const std::string& scope) const {
  if (scope.empty()) fail(ExitCode::kUsage, "a layer has an empty scope; give each layer a name of its own");
  if (std::ranges::any_of(graph_.layers, [&](const Layer& layer) { return scope_of(layer) == scope; })) {
    fail(ExitCode::kUsage, "two layers have the scope {}; give each layer a name of its own", scope);
  }
}

}  // namespace distmnist::slim
