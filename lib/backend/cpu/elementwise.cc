#include "lib/backend/cpu/elementwise.h"

#include <algorithm>

#include "lib/backend/dropout_mask.h"

namespace distmnist::cpu {
namespace {

// In floats.
std::ptrdiff_t size_of(const dnnl::memory& memory) {
  return std::ssize(all_floats(memory));
}

class ReluKernel final : public LayerKernel {
 public:
  ReluKernel(const Device& device, const LayerPlace& place)
      : device_(device), index_(place.index), input_(place.input), output_(place.output) {}

  void forward(const Step&) override {
    const float* from = floats(input_.value);
    float* to = floats(output_.value);
    const std::ptrdiff_t size = size_of(input_.value);
#pragma omp parallel for schedule(static)
    for (std::ptrdiff_t i = 0; i < size; ++i) to[i] = std::max(from[i], 0.0f);
  }
  void backward(const Step&) override {
    if (!input_.needs_gradient()) return;
    relu_backward(output_.value, output_.gradient);
    std::copy_n(floats(output_.gradient), size_of(output_.gradient), floats(input_.gradient));
  }
  void add_choices(std::vector<LayerChoices>& choices) const override {
    choices.push_back(relu_choices(device_, index_, output_.value));
  }

 private:
  Device device_;
  std::size_t index_;
  Tensor input_, output_;
};

class DropoutKernel final : public LayerKernel {
 public:
  DropoutKernel(const CompileOptions& options, const Dropout& layer, const LayerPlace& place)
      : layer_(layer),
        options_(options),
        input_(place.input),
        output_(place.output),
        mask_(static_cast<std::size_t>(size_of(place.input.value))) {}

  void forward(const Step& step) override {
    if (!step.training) {
      std::copy_n(floats(input_.value), size_of(input_.value), floats(output_.value));
      return;
    }
    fill_dropout_mask(options_, layer_, step.first_sample, mask_.span());
    multiply(floats(input_.value), floats(output_.value));
  }
  void backward(const Step&) override {
    if (input_.needs_gradient()) multiply(floats(output_.gradient), floats(input_.gradient));
  }

 private:
  void multiply(const float* from, float* to) const {
    const float* mask = mask_.data();
    for (std::size_t i = 0; i < mask_.size(); ++i) to[i] = from[i] * mask[i];
  }

  Dropout layer_;
  CompileOptions options_;
  Tensor input_, output_;
  FloatBuffer mask_;
};

// Makes the kernel of each elementwise layer.
struct MakeElementwise {
  const LayerContext& context;
  const LayerPlace& place;

  std::unique_ptr<LayerKernel> operator()(const Dropout& layer) const {
    return std::make_unique<DropoutKernel>(context.options, layer, place);
  }
  std::unique_ptr<LayerKernel> operator()(const Relu&) const {
    return std::make_unique<ReluKernel>(context.device, place);
  }
};

class LayoutChange final : public LayerKernel {
 public:
  LayoutChange(const Device& device, const Tensor& input, const Tensor& output)
      : forward_(make_reorder(device, input.value, output.value)) {
    if (input.needs_gradient()) backward_ = make_reorder(device, output.gradient, input.gradient);
  }

  void forward(const Step&) override { forward_.run(); }
  void backward(const Step&) override {
    if (backward_) backward_.run();
  }

 private:
  Operation forward_, backward_;
};

class View final : public LayerKernel {
 public:
  View(const Tensor& input, const Tensor& output) : input_(input), output_(output) {}

  // The graph's input has a different address in each step.
  void forward(const Step&) override { output_.value.set_data_handle(input_.value.get_data_handle()); }
  void backward(const Step&) override {}

 private:
  Tensor input_, output_;
};

}  // namespace

void relu_backward(const dnnl::memory& output, const dnnl::memory& gradient) {
  const float* values = floats(output);
  float* gradients = floats(gradient);
  const std::ptrdiff_t size = size_of(output);
#pragma omp parallel for schedule(static)
  for (std::ptrdiff_t i = 0; i < size; ++i) gradients[i] = values[i] > 0.0f ? gradients[i] : 0.0f;
}

void bias_backward(const dnnl::memory& gradient, std::span<float> sums) {
  const float* row = floats(gradient);
  const std::int64_t batch = dims_of(gradient.get_desc())[0];
  std::ranges::fill(sums, 0.0f);
  for (std::int64_t n = 0; n < batch; ++n, row += sums.size()) {
    for (std::size_t o = 0; o < sums.size(); ++o) sums[o] += row[o];
  }
}

std::unique_ptr<LayerKernel> make_elementwise(const LayerContext& context, const ElementwiseLayer& layer,
                                              const LayerPlace& place) {
  return std::visit(MakeElementwise{context, place}, layer);
}

std::unique_ptr<LayerKernel> make_layout_change(const Device& device, const Tensor& input, const Tensor& output) {
  return std::make_unique<LayoutChange>(device, input, output);
}

std::unique_ptr<LayerKernel> make_view(const Tensor& input, const Tensor& output) {
  return std::make_unique<View>(input, output);
}

}  // namespace distmnist::cpu
