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
  MaxPoolKernel(const MaxPool2d& layer, const LayerContext& context, const Tensor& input, const Tensor& output)
      : window_(pool_window(layer.window)),
        input_(input),
        output_(output),
        chosen_(context.memory, output.value.size(), "the choices of " + layer.scope) {}

  void forward(const Step& step) override {
    max_pool_forward(step.streams.main(), input_.value, nullptr, false, window_, output_.value,
                     step.training ? chosen_.data() : nullptr);
  }
  void backward(const Step& step) override {
    if (!input_.needs_gradient()) return;
    max_pool_backward(step.streams.main(), output_.gradient, chosen_.data(), window_, input_.gradient);
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
  AvgPoolKernel(const PoolWindow& window, const Tensor& input, const Tensor& output)
      : window_(window), input_(input), output_(output) {}

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
  ReluKernel(const Tensor& input, const Tensor& output) : input_(input), output_(output) {}

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
  DropoutKernel(const DropoutRule& rule, const Tensor& input, const Tensor& output)
      : rule_(rule), input_(input), output_(output) {}

  void forward(const Step& step) override {
    if (step.training) {
      dropout(step.streams.main(), rule_, step.current, input_.value, output_.value);
    } else {
      convert(step.streams.main(), input_.value, output_.value);
    }
  }
  void backward(const Step& step) override {
    if (input_.needs_gradient()) {
      dropout(step.streams.main(), rule_, step.current, output_.gradient, input_.gradient);
    }
  }

 private:
  DropoutRule rule_;
  Tensor input_, output_;
};

class ConversionKernel final : public LayerKernel {
 public:
  ConversionKernel(const Tensor& input, const Tensor& output) : input_(input), output_(output) {}

  void forward(const Step& step) override { convert(step.streams.main(), input_.value, output_.value); }
  void backward(const Step& step) override {
    if (input_.needs_gradient()) convert(step.streams.main(), output_.gradient, input_.gradient);
  }

 private:
  Tensor input_, output_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_max_pool(const MaxPool2d& layer, const LayerContext& context, const Tensor& input,
                                           const Tensor& output) {
  return std::make_unique<MaxPoolKernel>(layer, context, input, output);
}

std::unique_ptr<LayerKernel> make_avg_pool(const AvgPool2d& layer, const Tensor& input, const Tensor& output) {
  return std::make_unique<AvgPoolKernel>(pool_window(layer.window), input, output);
}

std::unique_ptr<LayerKernel> make_relu(const Tensor& input, const Tensor& output) {
  return std::make_unique<ReluKernel>(input, output);
}

std::unique_ptr<LayerKernel> make_dropout(const Dropout& layer, std::uint64_t seed, std::uint64_t stream,
                                          const Tensor& input, const Tensor& output) {
  const DropoutRule rule{mix64(seed) ^ stream, layer.stream, layer.keep_prob};
  return std::make_unique<DropoutKernel>(rule, input, output);
}

std::unique_ptr<LayerKernel> make_conversion(const Tensor& input, const Tensor& output) {
  return std::make_unique<ConversionKernel>(input, output);
}

}  // namespace distmnist::cuda
