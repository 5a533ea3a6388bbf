#include "lib/backend/cuda/convolution.h"

#include "lib/backend/cuda/choices.h"
#include "lib/backend/cuda/dnn_convolution.h"
#include "lib/backend/cuda/kernels/direct_convolution.h"
#include "lib/backend/cuda/kernels/elementwise.h"
#include "lib/backend/cuda/kernels/pooling.h"
#include "lib/backend/cuda/tensors.h"

namespace distmnist::cuda {
namespace {

// What the pool after a convolution has chosen.
class PooledChoices {
 public:
  PooledChoices(DeviceMemory& memory, const Conv2d& convolution, const MaxPool2d& pool, const TensorView& pooled)
      : pixels_(convolution.output.size()),
        pooled_(pooled),
        chosen_(memory, pooled.size(), "the choices of " + pool.scope) {}

  std::uint8_t* data() const { return chosen_.data(); }  // as in MaxPoolForward
  // `layer` is the index of the pool. Pixels that the pool did not choose have no gradient, so the ReLU before it is
  // recorded as passing everything: where it blocked a choice, data() records that there is none.
  void add_to(std::vector<LayerChoices>& out, std::size_t layer) const {
    out.push_back({layer - 1, std::vector<std::uint8_t>(static_cast<std::size_t>(pooled_.batch * pixels_), 1)});
    out.push_back({layer, in_chw_order(pooled_, chosen_.data())});
  }

 private:
  std::int64_t pixels_;  // that the pool chooses from, per sample
  TensorView pooled_;
  DeviceArray<std::uint8_t> chosen_;
};

// The convolution itself, without bias and activation. Handles the filter layout and the padding that cuDNN does not
// support.
class Products {
 public:
  Products(const LayerContext& context, const Conv2d& layer, const Tensor& input, const TensorView& y)
      : layer_(layer),
        context_(context),
        input_(input),
        padded_(padded_input(context, layer, input, padding_memory_)),
        convolution_(context.dnn, config(padded_, y)),
        data_workspace_(context.memory, bytes(convolution_.data_workspace_bytes()), "a convolution's workspace"),
        filter_workspace_(context.memory, bytes(convolution_.filter_workspace_bytes()), "a convolution's workspace"),
        y_(y) {
    if (canonical_filters_serve()) return;
    packed_filters_ = context.parameters.add_packed(layer.weights, packing());
    packed_gradient_ = DeviceArray<std::uint8_t>(context.memory, layer.weights.size * size_of(context.arithmetic.type),
                                                 "a convolution's packed gradient");
  }

  void forward(cudaStream_t stream) {
    if (is_padded()) pad(stream, input_.value, corner(), padded_.value);
    convolution_.forward(
        stream, {.x = padded_.value.data, .filters = filters(), .y = y_.data, .workspace = data_workspace_.data()});
  }

  // Computes gradients from dy, which has the shape of y: that of the filters on side, that of the input on main. dy
  // must be complete on main.
  void backward(const Step& step, const TensorView& dy) {
    step.streams.side_waits();
    filter_gradient(step.streams.side(), dy);
    step.report(layer_.weights, step.streams.side());
    if (!input_.needs_gradient()) return;
    const cudaStream_t main = step.streams.main();
    convolution_.backward_data(
        main, {.dy = dy.data, .filters = filters(), .dx = padded_.gradient.data, .workspace = data_workspace_.data()});
    if (is_padded()) crop(main, padded_.gradient, corner(), input_.gradient);
  }

 private:
  static std::int64_t bytes(std::size_t size) { return static_cast<std::int64_t>(size); }

  // cuDNN pads both sides equally. If TensorFlow's SAME does not, the input is first copied into a larger tensor.
  static Tensor padded_input(const LayerContext& context, const Conv2d& layer, const Tensor& input, Buffers& memory) {
    if (symmetric_padding(layer.window)) return input;
    TensorView larger = input.value;
    larger.height += static_cast<std::int32_t>(layer.window.pad_top + layer.window.pad_bottom);
    larger.width += static_cast<std::int32_t>(layer.window.pad_left + layer.window.pad_right);
    return memory.add_tensor(context.memory, larger, input.needs_gradient(), layer.scope);
  }

  DnnConvolutionConfig config(const Tensor& x, const TensorView& y) const {
    Window window = layer_.window;
    if (!symmetric_padding(window)) window.pad_top = window.pad_bottom = window.pad_left = window.pad_right = 0;
    return {.x = x.value, .y = y, .window = window, .tf32 = context_.arithmetic.tf32, .needs_dx = x.needs_gradient()};
  }

  // Whether cuDNN can use the filters in place in the parameter block, where their offset may be any number of floats.
  bool canonical_filters_serve() const {
    const auto is_aligned = [](const void* data) {
      return reinterpret_cast<std::uintptr_t>(data) % kDnnAlignment == 0;
    };
    return context_.arithmetic.layout == Layout::kNchw && is_aligned(context_.parameters.values(layer_.weights)) &&
           is_aligned(context_.parameters.gradients(layer_.weights));
  }
  FilterPacking packing() const {
    return {.out = static_cast<std::int32_t>(layer_.output.channels),
            .in = static_cast<std::int32_t>(layer_.input.channels),
            .height = static_cast<std::int32_t>(layer_.window.height),
            .width = static_cast<std::int32_t>(layer_.window.width),
            .layout = context_.arithmetic.layout,
            .type = context_.arithmetic.type};
  }
  // Of the input in the padded one.
  Corner corner() const {
    return {static_cast<std::int32_t>(layer_.window.pad_top), static_cast<std::int32_t>(layer_.window.pad_left)};
  }
  bool is_padded() const { return padded_.value.data != input_.value.data; }
  const void* filters() const {
    return packed_filters_ != nullptr ? packed_filters_ : context_.parameters.values(layer_.weights);
  }

  void filter_gradient(cudaStream_t stream, const TensorView& dy) {
    float* canonical = context_.parameters.gradients(layer_.weights);
    void* target = packed_filters_ != nullptr ? static_cast<void*>(packed_gradient_.data()) : canonical;
    convolution_.backward_filter(
        stream, {.x = padded_.value.data, .dy = dy.data, .dfilters = target, .workspace = filter_workspace_.data()});
    if (packed_filters_ == nullptr) return;
    unpack_filters(stream, packed_gradient_.data(), packing(), canonical);
  }

  Conv2d layer_;
  LayerContext context_;
  Tensor input_;
  Buffers padding_memory_;
  Tensor padded_;  // the input itself if it needs no extra padding
  DnnConvolution convolution_;
  DeviceArray<std::uint8_t> data_workspace_, filter_workspace_;
  TensorView y_;
  void* packed_filters_ = nullptr;
  DeviceArray<std::uint8_t> packed_gradient_;
};

class ConvolutionKernel final : public LayerKernel {
 public:
  ConvolutionKernel(const LayerContext& context, const Conv2d& layer, const LayerPlace& place)
      : layer_(layer),
        context_(context),
        output_(place.output),
        products_(context, layer, place.input, place.output.value) {}

  void forward(const Step& step) override {
    products_.forward(step.streams.main());
    bias_activation(step.streams.main(), output_.value, context_.parameters.values(layer_.biases), relu());
  }

  void backward(const Step& step) override {
    const cudaStream_t main = step.streams.main();
    if (relu()) relu_backward(main, output_.value, output_.gradient, output_.gradient);
    step.streams.side_waits();
    channel_sums(step.streams.side(), output_.gradient, nullptr, context_.parameters.gradients(layer_.biases));
    step.report(layer_.biases, step.streams.side());
    products_.backward(step, output_.gradient);
  }

  void add_choices(std::size_t layer, std::vector<LayerChoices>& out) const override {
    if (relu()) out.push_back({layer, passed_by_relu(output_.value)});
  }

 private:
  bool relu() const { return layer_.activation == Activation::kRelu; }

  Conv2d layer_;
  LayerContext context_;
  Tensor output_;
  Products products_;
};

class PooledConvolutionKernel final : public LayerKernel {
 public:
  PooledConvolutionKernel(const LayerContext& context, const Conv2d& layer, const MaxPool2d& pool,
                          const LayerPlace& place)
      : layer_(layer),
        context_(context),
        output_(place.output),
        window_(pool_window(pool.window)),
        unpooled_(memory_.add_tensor(
            context.memory,
            image_view(layer.output, place.output.value.batch, context.arithmetic.type, context.arithmetic.layout),
            true, layer.scope)),
        chosen_(context.memory, layer, pool, place.output.value),
        products_(context, layer, place.input, unpooled_.value) {}

  void forward(const Step& step) override {
    products_.forward(step.streams.main());
    max_pool_forward(step.streams.main(), {.x = unpooled_.value,
                                           .y = output_.value,
                                           .window = window_,
                                           .bias = context_.parameters.values(layer_.biases),
                                           .relu = layer_.activation == Activation::kRelu,
                                           .chosen = step.training ? chosen_.data() : nullptr});
  }

  void backward(const Step& step) override {
    step.streams.side_waits();
    channel_sums(step.streams.side(), output_.gradient, chosen_.data(), context_.parameters.gradients(layer_.biases));
    step.report(layer_.biases, step.streams.side());
    max_pool_backward(step.streams.main(),
                      {.dy = output_.gradient, .dx = unpooled_.gradient, .window = window_, .chosen = chosen_.data()});
    products_.backward(step, unpooled_.gradient);
  }

  void add_choices(std::size_t layer, std::vector<LayerChoices>& out) const override { chosen_.add_to(out, layer); }

 private:
  Conv2d layer_;
  LayerContext context_;
  Tensor output_;
  PoolWindow window_;
  Buffers memory_;
  Tensor unpooled_;
  PooledChoices chosen_;
  Products products_;
};

class DirectConvolutionKernel final : public LayerKernel {
 public:
  DirectConvolutionKernel(const LayerContext& context, const Conv2d& layer, const MaxPool2d& pool,
                          const LayerPlace& place)
      : layer_(layer),
        parameters_(context.parameters),
        input_(place.input),
        output_(place.output),
        chosen_(context.memory, layer, pool, place.output.value),
        workspace_(context.memory,
                   direct_convolution_workspace_bytes(layer, place.input.value.batch) / std::int64_t{sizeof(float)},
                   "the workspace of " + layer.scope) {}

  void forward(const Step& step) override {
    direct_convolution_forward(step.streams.main(), layer_,
                               {.x = input_.value,
                                .y = output_.value,
                                .parameters = parameters_.values({}),
                                .chosen = step.training ? chosen_.data() : nullptr});
  }

  void backward(const Step& step) override {
    step.streams.side_waits();
    direct_convolution_backward(step.streams.side(), layer_,
                                {.x = input_.value,
                                 .dy = output_.gradient,
                                 .chosen = chosen_.data(),
                                 .workspace = workspace_.data(),
                                 .gradients = parameters_.gradients({})});
    step.report(layer_.weights, step.streams.side());
    step.report(layer_.biases, step.streams.side());
  }

  void add_choices(std::size_t layer, std::vector<LayerChoices>& out) const override { chosen_.add_to(out, layer); }

 private:
  Conv2d layer_;
  Parameters& parameters_;
  Tensor input_, output_;
  PooledChoices chosen_;
  DeviceArray<float> workspace_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_convolution(const LayerContext& context, const Conv2d& layer,
                                              const LayerPlace& place) {
  return std::make_unique<ConvolutionKernel>(context, layer, place);
}

std::unique_ptr<LayerKernel> make_pooled_convolution(const LayerContext& context, const Conv2d& layer,
                                                     const MaxPool2d& pool, const LayerPlace& place) {
  if (!place.input.needs_gradient() && has_direct_convolution(layer, pool)) {
    return std::make_unique<DirectConvolutionKernel>(context, layer, pool, place);
  }
  return std::make_unique<PooledConvolutionKernel>(context, layer, pool, place);
}

}  // namespace distmnist::cuda
