#include "lib/backend/cuda/simple_layers.h"

#include "lib/backend/cuda/choices.h"
#include "lib/backend/cuda/kernels/elementwise.h"
#include "lib/backend/cuda/kernels/pooling.h"
#include "lib/backend/cuda/tensors.h"
#include "lib/base/random.h"

namespace distmnist::cuda {
namespace {

class MaxPoolKernel final : public LayerKernel {
 public:
  MaxPoolKernel(const LayerContext& context, const MaxPool2d& layer, const LayerPlace& place)
      : window_(pool_window(layer.window)),
        input_(place.input),
        output_(place.output),
        chosen_(context.memory, place.output.value.size(), "the choices of " + layer.scope) {}

  void forward(const Step& step) override {
    max_pool_forward(
        step.streams.main(),
        {.x = input_.value, .y = output_.value, .window = window_, .chosen = step.training ? chosen_.data() : nullptr});
  }
  void backward(const Step& step) override {
    if (!input_.needs_gradient()) return;
    max_pool_backward(step.streams.main(),
                      {.dy = output_.gradient, .dx = input_.gradient, .window = window_, .chosen = chosen_.data()});
  }
  void add_choices(std::size_t layer, std::vector<LayerChoices>& out) const override {
    out.push_back({layer, in_chw_order(output_.value, chosen_.data())});
  }

 private:
  PoolWindow window_;
  Tensor input_, output_;
  DeviceArray<std::uint8_t> chosen_;
};

class AvgPoolKernel final : public LayerKernel {
 public:
  AvgPoolKernel(const AvgPool2d& layer, const LayerPlace& place)
      : window_(pool_window(layer.window)), input_(place.input), output_(place.output) {}

  void forward(const Step& step) override {
    avg_pool_forward(step.streams.main(), input_.value, window_, output_.value);
  }
  void backward(const Step& step) override {
    if (input_.needs_gradient()) {
      avg_pool_backward(step.streams.main(), output_.gradient, window_, input_.gradient);
    }
  }

 private:
  PoolWindow window_;
  Tensor input_, output_;
};

class ReluKernel final : public LayerKernel {
 public:
  explicit ReluKernel(const LayerPlace& place) : input_(place.input), output_(place.output) {}

  void forward(const Step& step) override {
    convert(step.streams.main(), input_.value, output_.value);
    bias_activation(step.streams.main(), output_.value, nullptr, true);
  }
  void backward(const Step& step) override {
    if (!input_.needs_gradient()) return;
    relu_backward(step.streams.main(), output_.value, output_.gradient, input_.gradient);
  }
  void add_choices(std::size_t layer, std::vector<LayerChoices>& out) const override {
    out.push_back({layer, passed_by_relu(output_.value)});
  }

 private:
  Tensor input_, output_;
};

class DropoutKernel final : public LayerKernel {
 public:
  DropoutKernel(const LayerContext& context, const Dropout& layer, const LayerPlace& place)
      : rule_{.seed = mix64(context.options.seed) ^ context.options.stream,
              .stream = layer.stream,
              .keep_prob = layer.keep_prob},
        input_(place.input),
        output_(place.output) {}

  void forward(const Step& step) override {
    if (step.training) {
      dropout(step.streams.main(), {.rule = rule_, .current = step.current, .x = input_.value, .y = output_.value});
    } else {
      convert(step.streams.main(), input_.value, output_.value);
    }
  }
  void backward(const Step& step) override {
    if (input_.needs_gradient()) {
      dropout(step.streams.main(),
              {.rule = rule_, .current = step.current, .x = output_.gradient, .y = input_.gradient});
    }
  }

 private:
  DropoutRule rule_;
  Tensor input_, output_;
};

// Makes the kernel of each elementwise layer.
struct MakeElementwise {
  const LayerContext& context;
  const LayerPlace& place;

  std::unique_ptr<LayerKernel> operator()(const Dropout& layer) const {
    return std::make_unique<DropoutKernel>(context, layer, place);
  }
  std::unique_ptr<LayerKernel> operator()(const Relu&) const { return std::make_unique<ReluKernel>(place); }
};

class ConversionKernel final : public LayerKernel {
 public:
  explicit ConversionKernel(const LayerPlace& place) : input_(place.input), output_(place.output) {}

  void forward(const Step& step) override { convert(step.streams.main(), input_.value, output_.value); }
  void backward(const Step& step) override {
    if (input_.needs_gradient()) convert(step.streams.main(), output_.gradient, input_.gradient);
  }

 private:
  Tensor input_, output_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_simple_layer(const LayerContext& context, const MaxPool2d& layer,
                                               const LayerPlace& place) {
  return std::make_unique<MaxPoolKernel>(context, layer, place);
}

std::unique_ptr<LayerKernel> make_simple_layer(const LayerContext&, const AvgPool2d& layer, const LayerPlace& place) {
  return std::make_unique<AvgPoolKernel>(layer, place);
}

std::unique_ptr<LayerKernel> make_simple_layer(const LayerContext& context, const ElementwiseLayer& layer,
                                               const LayerPlace& place) {
  return std::visit(MakeElementwise{context, place}, layer);
}

std::unique_ptr<LayerKernel> make_conversion(const LayerPlace& place) {
  return std::make_unique<ConversionKernel>(place);
}

}  // namespace distmnist::cuda
