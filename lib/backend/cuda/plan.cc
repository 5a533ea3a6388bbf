#include "lib/backend/cuda/plan.h"

#include <algorithm>
#include <cassert>
#include <ranges>

#include "lib/backend/cuda/convolution.h"
#include "lib/backend/cuda/fully_connected.h"
#include "lib/backend/cuda/kernels/softmax.h"
#include "lib/backend/cuda/simple_layers.h"

namespace distmnist::cuda {
namespace {

bool is_flat(const Shape& shape) {
  return shape.height == 1 && shape.width == 1;
}

// The same memory seen as flat samples.
TensorView flattened(TensorView view) {
  view.channels *= view.height * view.width;
  view.height = view.width = 1;
  return view;
}

}  // namespace

bool has_kernel(const Layer& layer) {
  const auto* pool = std::get_if<MaxPool2d>(&layer);
  return pool == nullptr || pool->window.height * pool->window.width <= kMaxWindowPixels;
}

Arithmetic arithmetic_of(Precision precision) {
  assert(precision != Precision::kAuto);
  if (precision == Precision::kF32) return {};
  return {.type = precision == Precision::kBf16 ? NumberType::kBf16 : NumberType::kF32,
          .layout = Layout::kNhwc,
          .tf32 = precision == Precision::kTf32};
}

// Puts a plan's kernels together, layer by layer.
class Plan::Builder {
 public:
  Builder(Plan& plan, const Graph& graph, const LayerContext& context) : plan_(plan), graph_(graph), context_(context) {
    const auto first = std::ranges::find_if(graph.layers, has_variables);
    plan_.names_.resize(graph.layers.size());
    plan_.first_trained_layer_ = static_cast<std::size_t>(first - graph.layers.begin());
  }

  void build() {
    plan_.input_.value = plan_.buffers_.add(context_.memory, view(graph_.input, own_layout(0)), "samples");
    current_ = plan_.input_;
    while (at_ < graph_.layers.size()) std::visit(*this, graph_.layers[at_]);
    plan_.output_ = current_;
    plan_.logits_ = current_.value;
    if (current_.value.type == NumberType::kF32) return;
    // The gradient of the logits is written to current_, so that nothing has to be converted backwards.
    TensorView f32 = current_.value;
    f32.type = NumberType::kF32;
    plan_.logits_ = plan_.buffers_.add(context_.memory, f32, "logits");
    plan_.kernels_.push_back({at_, make_conversion({{current_.value}, {plan_.logits_}}), true});
  }

  void operator()(const Conv2d& layer) {
    const auto* pool = at_ + 1 < graph_.layers.size() ? std::get_if<MaxPool2d>(&graph_.layers[at_ + 1]) : nullptr;
    if (pool != nullptr) {
      const Tensor output = make_tensor(pool->output, pool->scope, own_layout(at_ + 2));
      name("cuDNN convolution; bias, relu and max-pool in one built-in kernel");
      plan_.names_[at_ + 1] = "part of the convolution";
      add(2, make_pooled_convolution(context_, layer, *pool, place(output)), output);
    } else {
      const Tensor output = make_tensor(layer.output, layer.scope, context_.arithmetic.layout);
      name("cuDNN convolution");
      add(1, make_convolution(context_, layer, place(output)), output);
    }
  }
  void operator()(const Flatten& layer) {
    if (current_.value.layout == Layout::kNchw || is_flat(layer.input)) {
      current_.value = flattened(current_.value);
      if (current_.needs_gradient()) current_.gradient = flattened(current_.gradient);
      name("no work: same memory layout");
      ++at_;
      return;
    }
    const Tensor output = make_tensor(layer.output, layer.scope, context_.arithmetic.layout);
    name("built-in reordering");
    add(1, make_conversion(place(output)), output);
  }
  void operator()(const FullyConnected& layer) {
    const bool last = at_ + 1 == graph_.layers.size();
    Tensor output;
    TensorView value = view(layer.output, context_.arithmetic.layout);
    if (last) value.type = NumberType::kF32;
    output.value = plan_.buffers_.add(context_.memory, value, "the activations of " + layer.scope);
    output.gradient = plan_.buffers_.add(context_.memory, view(layer.output, context_.arithmetic.layout),
                                         "the gradients of " + layer.scope);
    name("cuBLASLt matrix product with bias and relu");
    add(1, make_fully_connected(context_, layer, place(output)), output);
  }
  // All others have a kernel in simple_layers.cc.
  template <typename SimpleLayer>
  void operator()(const SimpleLayer& layer) {
    const Tensor output = make_tensor(layer.output, layer.scope, own_layout(at_ + 1));
    name("built-in kernel");
    add(1, make_simple_layer(context_, layer, place(output)), output);
  }

 private:
  // What layer `next` wants its input in: CHW order before a Flatten, which is then a change of shape only.
  Layout own_layout(std::size_t next) const {
    const bool before_flatten = next < graph_.layers.size() && std::holds_alternative<Flatten>(graph_.layers[next]);
    return before_flatten ? Layout::kNchw : context_.arithmetic.layout;
  }

  TensorView view(const Shape& shape, Layout layout) const {
    return image_view(shape, static_cast<std::int32_t>(plan_.batch_), context_.arithmetic.type, layout);
  }

  // The output of the layer at at_: what lies behind the first variable needs a gradient.
  Tensor make_tensor(const Shape& shape, const std::string& scope, Layout layout) {
    return plan_.buffers_.add_tensor(context_.memory, view(shape, layout), at_ + 1 > plan_.first_trained_layer_, scope);
  }

  // Of the layer at at_, which takes the current tensor to `output`.
  LayerPlace place(const Tensor& output) const { return {current_, output}; }

  // Of what computes the layer at at_.
  void name(const char* of_kernel) { plan_.names_[at_] = of_kernel; }
  void add(std::size_t layers, std::unique_ptr<LayerKernel> kernel, const Tensor& output = {}) {
    at_ += layers;
    plan_.kernels_.push_back({at_ - 1, std::move(kernel)});
    current_ = output;
  }

  Plan& plan_;
  const Graph& graph_;
  const LayerContext& context_;
  Tensor current_;      // the output of the layer before at_
  std::size_t at_ = 0;  // the layer that comes next
};

Plan::Plan(std::uint64_t id, const Graph& graph, std::int64_t batch, const LayerContext& context)
    : id_(id),
      batch_(batch),
      labels_(context.memory, batch, "labels"),
      correct_(context.memory, batch, "results"),
      losses_(context.memory, batch, "losses") {
  Builder(*this, graph, context).build();
}

void Plan::forward(const Step& step) {
  for (PlacedKernel& placed : kernels_) placed.kernel->forward(step);
}

void Plan::loss(cudaStream_t stream, std::int64_t divisor, std::uint32_t* cursor) {
  softmax_cross_entropy(stream, {.logits = logits(),
                                 .labels = labels(),
                                 .divisor = divisor,
                                 .gradient = output_.gradient,
                                 .losses = losses_.data(),
                                 .correct = correct_.data(),
                                 .cursor = cursor});
}

void Plan::backward(const Step& step) {
  for (PlacedKernel& placed : std::views::reverse(kernels_)) {
    if (placed.layer >= first_trained_layer_ && !placed.forward_only) placed.kernel->backward(step);
  }
  step.streams.main_waits();
}

std::vector<LayerChoices> Plan::choices() const {
  std::vector<LayerChoices> out;
  for (const PlacedKernel& placed : kernels_) placed.kernel->add_choices(placed.layer, out);
  return out;
}

}  // namespace distmnist::cuda
