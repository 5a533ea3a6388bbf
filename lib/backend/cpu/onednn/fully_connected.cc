#include "lib/backend/cpu/onednn/fully_connected.h"

#include "lib/backend/cpu/elementwise.h"

namespace distmnist::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

dnnl::memory::desc matrix(std::int64_t rows, std::int64_t columns, Tag tag) {
  return dnnl::memory::desc({rows, columns}, dnnl::memory::data_type::f32, tag);
}

class FullyConnectedKernel final : public LayerKernel {
 public:
  FullyConnectedKernel(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place)
      : device_(context.device),
        layer_(layer),
        index_(place.index),
        parameters_(context.parameters),
        output_(place.output) {
    const Device& device = context.device;
    const dnnl::engine& engine = device.engine;
    const Tensor& input = place.input;
    const Tensor& output = place.output;
    const std::int64_t batch = place.batch();
    const std::int64_t in = layer.input.size(), out = layer.output.size();
    void* weights = parameters_.factors(layer.weights);

    // y [batch, out] = x [batch, in] W^T [in, out] + b
    const dnnl::memory transposed(matrix(in, out, Tag::ba), engine, weights);
    const dnnl::memory biases(matrix(1, out, Tag::ab), engine, parameters_.address(layer.biases));
    const auto forward =
        matmul_descriptor(engine, {input.layout(), transposed.get_desc(), biases.get_desc(), output.layout()},
                          attributes(layer.activation));
    forward_ = Operation(device, dnnl::matmul(forward), forward,
                         {{DNNL_ARG_SRC, input.value},
                          {DNNL_ARG_WEIGHTS, transposed},
                          {DNNL_ARG_BIAS, biases},
                          {DNNL_ARG_DST, output.value}});

    // dW [out, in] = dy^T [out, batch] x [batch, in]
    const dnnl::memory gradient = output.gradient_buffer->share(matrix(out, batch, Tag::ba), engine);
    const dnnl::memory weight_gradient(matrix(out, in, Tag::ab), engine, parameters_.gradient_address(layer.weights));
    const auto backward_weights =
        matmul_descriptor(engine, {gradient.get_desc(), input.layout(), {}, weight_gradient.get_desc()}, attributes());
    backward_weights_ =
        Operation(device, dnnl::matmul(backward_weights), backward_weights,
                  {{DNNL_ARG_SRC, gradient}, {DNNL_ARG_WEIGHTS, input.value}, {DNNL_ARG_DST, weight_gradient}});

    // dx [batch, in] = dy [batch, out] W [out, in]
    if (!input.needs_gradient()) return;
    const dnnl::memory plain(matrix(out, in, Tag::ab), engine, weights);
    const auto backward_data =
        matmul_descriptor(engine, {output.layout(), plain.get_desc(), {}, input.layout()}, attributes());
    backward_data_ =
        Operation(device, dnnl::matmul(backward_data), backward_data,
                  {{DNNL_ARG_SRC, output.gradient}, {DNNL_ARG_WEIGHTS, plain}, {DNNL_ARG_DST, input.gradient}});
  }

  void forward(const Step&) override { forward_.run(); }

  void backward(const Step& step) override {
    if (layer_.activation == Activation::kRelu) relu_backward(output_.value, output_.gradient);
    backward_weights_.run();
    step.report(layer_.weights);
    bias_backward(output_.gradient, parameters_.gradients(layer_.biases));
    step.report(layer_.biases);
    if (backward_data_) backward_data_.run();
  }

  void add_choices(std::vector<LayerChoices>& choices) const override {
    if (layer_.activation == Activation::kRelu) choices.push_back(relu_choices(device_, index_, output_.value));
  }

 private:
  Device device_;
  FullyConnected layer_;
  std::size_t index_;
  Parameters& parameters_;
  Tensor output_;
  Operation forward_, backward_weights_, backward_data_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_fully_connected(const LayerContext& context, const FullyConnected& layer,
                                                  const LayerPlace& place) {
  return std::make_unique<FullyConnectedKernel>(context, layer, place);
}

}  // namespace distmnist::cpu
