#include "lib/backend/cpu/pooling.h"

namespace distmnist::cpu {
namespace {

WindowDims dims_of(const Window& window) {
  return {.kernel = {window.height, window.width},
          .strides = {window.stride, window.stride},
          .pad_before = {0, 0},
          .pad_after = {0, 0}};
}

class Pooling final : public Kernel {
 public:
  Pooling(const Device& device, dnnl::algorithm algorithm, const Window& window,
          const dnnl::pooling_forward::primitive_desc& descriptor, const Tensor& input, const Tensor& output) {
    std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, input.value}, {DNNL_ARG_DST, output.value}};
    // Where each maximum came from. An average needs none.
    dnnl::memory origins;
    if (algorithm == dnnl::algorithm::pooling_max) {
      origins = dnnl::memory(descriptor.workspace_desc(), device.engine);
      arguments.emplace(DNNL_ARG_WORKSPACE, origins);
    }
    forward_ = Operation(device, dnnl::pooling_forward(descriptor), descriptor, std::move(arguments));

    if (!input.needs_gradient()) return;
    const auto backward = pooling_backward_descriptor(device.engine, algorithm, input.layout(), output.layout(),
                                                      dims_of(window), attributes(), descriptor);
    arguments = {{DNNL_ARG_DIFF_SRC, input.gradient}, {DNNL_ARG_DIFF_DST, output.gradient}};
    if (origins) arguments.emplace(DNNL_ARG_WORKSPACE, origins);
    backward_ = Operation(device, dnnl::pooling_backward(backward), backward, std::move(arguments));
  }

  void forward(const Step&) override { forward_.run(); }
  void backward(const Step&) override {
    if (backward_) backward_.run();
  }

 private:
  Operation forward_, backward_;
};

}  // namespace

dnnl::pooling_forward::primitive_desc pooling_descriptor(const Device& device, dnnl::algorithm algorithm,
                                                         const Window& window, const dnnl::memory::desc& input,
                                                         const dnnl::memory::dims& output) {
  const dnnl::memory::desc any(output, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any);
  return pooling_forward_descriptor(device.engine, algorithm, input, any, dims_of(window), attributes());
}

std::unique_ptr<Kernel> make_pooling(const Device& device, dnnl::algorithm algorithm, const Window& window,
                                     const dnnl::pooling_forward::primitive_desc& descriptor, const Tensor& input,
                                     const Tensor& output) {
  return std::make_unique<Pooling>(device, algorithm, window, descriptor, input, output);
}

}  // namespace distmnist::cpu
