#include "lib/backend/cpu/onednn/pooling.h"

namespace distmnist::cpu {
namespace {

class Pooling final : public LayerKernel {
 public:
  Pooling(const Device& device, const PoolingForm& form, const LayerPlace& place,
          const dnnl::pooling_forward::primitive_desc& descriptor)
      : device_(device),
        is_max_(form.algorithm == dnnl::algorithm::pooling_max),
        window_(form.window),
        index_(place.index),
        input_(place.input),
        output_(place.output) {
    std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, input_.value}, {DNNL_ARG_DST, output_.value}};
    // The origin of each maximum. Averages do not need it.
    dnnl::memory origins;
    if (is_max_) {
      origins = dnnl::memory(descriptor.workspace_desc(), device.engine);
      arguments.emplace(DNNL_ARG_WORKSPACE, origins);
    }
    forward_ = Operation(device, dnnl::pooling_forward(descriptor), descriptor, std::move(arguments));

    if (!input_.needs_gradient()) return;
    const auto backward = pooling_backward_descriptor(
        device.engine, {form.algorithm, input_.layout(), output_.layout(), dims_of(window_)}, attributes(), descriptor);
    arguments = {{DNNL_ARG_DIFF_SRC, input_.gradient}, {DNNL_ARG_DIFF_DST, output_.gradient}};
    if (origins) arguments.emplace(DNNL_ARG_WORKSPACE, origins);
    backward_ = Operation(device, dnnl::pooling_backward(backward), backward, std::move(arguments));
  }

  void forward(const Step&) override { forward_.run(); }
  void backward(const Step&) override {
    if (backward_) backward_.run();
  }

  // oneDNN does not document the layout of its own record, so the maxima are searched again in the same numbers.
  void add_choices(std::vector<LayerChoices>& choices) const override {
    if (!is_max_) return;
    LayerChoices maxima{.layer = index_, .bytes = {}};
    const std::vector<float> values = canonical_copy(device_, input_.value);
    const auto in = dims_of(input_.layout()), out = dims_of(output_.layout());
    for (std::int64_t plane = 0; plane < out[0] * out[1]; ++plane) {
      for (std::int64_t y = 0; y < out[2]; ++y) {
        for (std::int64_t x = 0; x < out[3]; ++x) {
          const float* corner =
              &values[static_cast<std::size_t>((plane * in[2] + y * window_.stride) * in[3] + x * window_.stride)];
          maxima.bytes.push_back(first_maximum(corner, in[3]));
        }
      }
    }
    choices.push_back(std::move(maxima));
  }

 private:
  std::uint8_t first_maximum(const float* corner, std::int64_t row) const {
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < window_.height * window_.width; ++i) {
      const auto at = [&](std::int64_t pixel) { return corner[pixel / window_.width * row + pixel % window_.width]; };
      if (at(i) > at(best)) best = i;
    }
    return static_cast<std::uint8_t>(best);
  }

  Device device_;
  bool is_max_;
  Window window_;
  std::size_t index_;
  Tensor input_, output_;
  Operation forward_, backward_;
};

}  // namespace

dnnl::pooling_forward::primitive_desc pooling_descriptor(const Device& device, const PoolingForm& form,
                                                         const dnnl::memory::desc& input,
                                                         const dnnl::memory::dims& output) {
  const dnnl::memory::desc any(output, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any);
  return pooling_forward_descriptor(device.engine, {form.algorithm, input, any, dims_of(form.window)}, attributes());
}

std::unique_ptr<LayerKernel> make_pooling(const Device& device, const PoolingForm& form, const LayerPlace& place,
                                          const dnnl::pooling_forward::primitive_desc& descriptor) {
  return std::make_unique<Pooling>(device, form, place, descriptor);
}

}  // namespace distmnist::cpu
