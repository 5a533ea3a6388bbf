#include "lib/backend/cuda/fully_connected.h"

#include <optional>

#include "lib/backend/cuda/choices.h"
#include "lib/backend/cuda/matmul.h"

namespace distmnist::cuda {
namespace {

Matrix matrix(const TensorView& flat) {
  return {flat.data, flat.type, flat.batch, flat.channels};
}

class FullyConnectedKernel final : public LayerKernel {
 public:
  FullyConnectedKernel(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place)
      : layer_(layer),
        context_(context),
        output_(place.output),
        relu_(layer.activation == Activation::kRelu),
        weights_{context.parameters.factors(layer.weights), context.arithmetic.type, layer.output.size(),
                 layer.input.size()},
        forward_(context.blas, forward_product(place.input)),
        weights_gradient_(context.blas, weights_product(place.input)) {
    if (place.input.needs_gradient()) input_gradient_.emplace(context.blas, input_product(place.input));
  }

  void forward(const Step& step) override {
    forward_.run(step.streams.main(), context_.main_workspace);
    if (forward_.fused()) return;
    bias_activation(step.streams.main(), output_.value, context_.parameters.values(layer_.biases), relu_);
  }

  void backward(const Step& step) override {
    const cudaStream_t main = step.streams.main(), side = step.streams.side();
    float* const sums = context_.parameters.gradients(layer_.biases);
    // ReLU changes dy in place, so dx must wait for it. Without ReLU, only the biases need the sums.
    if (relu_) {
      relu_backward_and_sums(main, output_.value, output_.gradient, sums);
      step.report(layer_.biases, main);
      step.streams.side_waits();
    } else {
      step.streams.side_waits();
      batch_sums(side, output_.gradient, sums);
      step.report(layer_.biases, side);
    }
    weights_gradient_.run(side, context_.side_workspace);
    step.report(layer_.weights, side);
    if (input_gradient_) input_gradient_->run(main, context_.main_workspace);
  }

  void add_choices(std::size_t layer, std::vector<LayerChoices>& out) const override {
    if (relu_) out.push_back({layer, passed_by_relu(output_.value)});
  }

 private:
  // y [batch, out] = act(x [batch, in] W^T + b), W [out, in]. cuBLASLt requires the bias in the type of the result.
  Product forward_product(const Tensor& input) const {
    const bool f32 = output_.value.type == NumberType::kF32;
    return {.left = matrix(input.value),
            .right = weights_,
            .result = matrix(output_.value),
            .transpose_right = true,
            .tf32 = context_.arithmetic.tf32,
            .bias = f32 ? context_.parameters.values(layer_.biases) : context_.parameters.factors(layer_.biases),
            .relu = relu_};
  }
  // dW = dy^T x
  Product weights_product(const Tensor& input) const {
    return {
        .left = matrix(output_.gradient),
        .right = matrix(input.value),
        .result = {context_.parameters.gradients(layer_.weights), NumberType::kF32, weights_.rows, weights_.columns},
        .transpose_left = true,
        .tf32 = context_.arithmetic.tf32};
  }
  // dx = dy W
  Product input_product(const Tensor& input) const {
    return {.left = matrix(output_.gradient),
            .right = weights_,
            .result = matrix(input.gradient),
            .tf32 = context_.arithmetic.tf32};
  }

  FullyConnected layer_;
  LayerContext context_;
  Tensor output_;
  bool relu_;
  Matrix weights_;
  Matmul forward_, weights_gradient_;
  std::optional<Matmul> input_gradient_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_fully_connected(const LayerContext& context, const FullyConnected& layer,
                                                  const LayerPlace& place) {
  return std::make_unique<FullyConnectedKernel>(context, layer, place);
}

}  // namespace distmnist::cuda
