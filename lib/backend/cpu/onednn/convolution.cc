#include "lib/backend/cpu/onednn/convolution.h"

#include <string_view>
#include <utility>

#include "lib/backend/cpu/elementwise.h"

namespace distmnist::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

dnnl::memory::desc description(const dnnl::memory::dims& dims, Tag tag) {
  return dnnl::memory::desc(dims, dnnl::memory::data_type::f32, tag);
}

dnnl::memory::dims weight_dims(const Conv2d& layer) {
  return {layer.output.channels, layer.input.channels, layer.window.height, layer.window.width};
}

// Whether oneDNN offers only its plain loops for this, which take a hundred times as long.
template <typename PrimitiveDescriptor>
bool is_plain_loops(const PrimitiveDescriptor& descriptor) {
  return std::string_view(descriptor.impl_info_str()).starts_with("ref");
}

// The weights in the layout that a primitive requires.
class PackedWeights {
 public:
  PackedWeights() = default;
  PackedWeights(const Device& device, const Conv2d& layer, Parameters& parameters, const dnnl::memory::desc& wanted)
      : parameters_(&parameters), range_(layer.weights) {
    const dnnl::memory canonical(description(weight_dims(layer), Tag::oihw), device.engine, parameters.factors(range_));
    packed_ = canonical;
    if (wanted == canonical.get_desc()) return;
    packed_ = dnnl::memory(wanted, device.engine);
    pack_ = make_reorder(device, canonical, packed_);
  }

  const dnnl::memory& memory() const { return packed_; }

  // Repacks if the weights have changed since the last call.
  void refresh() {
    if (!pack_ || version_ == parameters_->version(range_)) return;
    pack_.run();
    version_ = parameters_->version(range_);
  }

 private:
  Parameters* parameters_ = nullptr;
  Range range_;
  std::uint64_t version_ = ~std::uint64_t{0};  // of the weights in packed_; initially none
  dnnl::memory packed_;
  Operation pack_;
};

class Convolution final : public LayerKernel {
 public:
  Convolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
              const dnnl::convolution_forward::primitive_desc& descriptor)
      : device_(context.device),
        layer_(layer),
        index_(place.index),
        input_(place.input),
        output_(place.output),
        parameters_(context.parameters),
        forward_weights_(device_, layer, parameters_, descriptor.weights_desc()) {
    const dnnl::memory biases(descriptor.bias_desc(), device_.engine, parameters_.address(layer.biases));
    forward_ = Operation(device_, dnnl::convolution_forward(descriptor), descriptor,
                         {{DNNL_ARG_SRC, input_.value},
                          {DNNL_ARG_WEIGHTS, forward_weights_.memory()},
                          {DNNL_ARG_BIAS, biases},
                          {DNNL_ARG_DST, output_.value}});
    make_backward_weights(descriptor);
    if (input_.needs_gradient()) make_backward_data(descriptor);
  }

  void forward(const Step&) override {
    forward_weights_.refresh();
    forward_.run();
  }

  void backward(const Step& step) override {
    if (layer_.activation == Activation::kRelu) relu_backward(output_.value, output_.gradient);
    if (plain_input_) plain_input_.run();
    if (plain_gradient_) plain_gradient_.run();
    backward_weights_.run();
    if (unpack_gradient_) unpack_gradient_.run();
    step.report(layer_.weights);
    step.report(layer_.biases);
    if (!backward_data_) return;
    backward_weights_for_data_.refresh();
    backward_data_.run();
  }

  void add_choices(std::vector<LayerChoices>& choices) const override {
    if (layer_.activation == Activation::kRelu) choices.push_back(relu_choices(device_, index_, output_.value));
  }

 private:
  void make_backward_weights(const dnnl::convolution_forward::primitive_desc& forward) {
    const auto descriptor_for = [&](const dnnl::memory::desc& source, const dnnl::memory::desc& destination) {
      return convolution_backward_weights_descriptor(device_.engine,
                                                     {source, description(weight_dims(layer_), Tag::any),
                                                      forward.bias_desc(), destination, dims_of(layer_.window)},
                                                     attributes(), forward);
    };
    auto descriptor = descriptor_for(input_.layout(), output_.layout());
    dnnl::memory source = input_.value, destination = output_.gradient;
    if (is_plain_loops(descriptor)) {
      // Without AVX-512, this happens for a single input channel. The version that uses matrix products needs canonical
      // layouts.
      const auto canonical_source = description(dims_of(input_.layout()), Tag::nchw);
      const auto canonical_destination = description(dims_of(output_.layout()), Tag::nchw);
      if (auto other = descriptor_for(canonical_source, canonical_destination); !is_plain_loops(other)) {
        descriptor = std::move(other);
        source = in_layout(source, canonical_source, plain_input_);
        destination = in_layout(destination, canonical_destination, plain_gradient_);
      }
    }
    const dnnl::memory canonical(description(weight_dims(layer_), Tag::oihw), device_.engine,
                                 parameters_.gradient_address(layer_.weights));
    dnnl::memory gradient = canonical;
    if (descriptor.diff_weights_desc() != canonical.get_desc()) {
      gradient = dnnl::memory(descriptor.diff_weights_desc(), device_.engine);
      unpack_gradient_ = make_reorder(device_, gradient, canonical);
    }
    const dnnl::memory biases(forward.bias_desc(), device_.engine, parameters_.gradient_address(layer_.biases));
    backward_weights_ = Operation(device_, dnnl::convolution_backward_weights(descriptor), descriptor,
                                  {{DNNL_ARG_SRC, source},
                                   {DNNL_ARG_DIFF_DST, destination},
                                   {DNNL_ARG_DIFF_WEIGHTS, gradient},
                                   {DNNL_ARG_DIFF_BIAS, biases}});
  }

  // Returns the memory itself if it has this layout, else a copy made by `copy`.
  dnnl::memory in_layout(const dnnl::memory& memory, const dnnl::memory::desc& layout, Operation& copy) const {
    if (memory.get_desc() == layout) return memory;
    dnnl::memory other(layout, device_.engine);
    copy = make_reorder(device_, memory, other);
    return other;
  }

  void make_backward_data(const dnnl::convolution_forward::primitive_desc& forward) {
    const auto descriptor = convolution_backward_data_descriptor(
        device_.engine,
        {input_.layout(), description(weight_dims(layer_), Tag::any), {}, output_.layout(), dims_of(layer_.window)},
        attributes(), forward);
    backward_weights_for_data_ = PackedWeights(device_, layer_, parameters_, descriptor.weights_desc());
    backward_data_ = Operation(device_, dnnl::convolution_backward_data(descriptor), descriptor,
                               {{DNNL_ARG_DIFF_DST, output_.gradient},
                                {DNNL_ARG_WEIGHTS, backward_weights_for_data_.memory()},
                                {DNNL_ARG_DIFF_SRC, input_.gradient}});
  }

  Device device_;
  Conv2d layer_;
  std::size_t index_;
  Tensor input_, output_;
  Parameters& parameters_;
  PackedWeights forward_weights_, backward_weights_for_data_;
  Operation plain_input_, plain_gradient_;  // used if the next operation needs different layouts
  Operation forward_, backward_weights_, unpack_gradient_, backward_data_;
};

}  // namespace

dnnl::convolution_forward::primitive_desc convolution_descriptor(const Device& device, const Conv2d& layer,
                                                                 std::int64_t batch) {
  const auto image = [&](const Shape& shape) {
    return description({batch, shape.channels, shape.height, shape.width}, Tag::any);
  };
  return convolution_forward_descriptor(
      device.engine,
      {image(layer.input), description(weight_dims(layer), Tag::any), description({layer.output.channels}, Tag::x),
       image(layer.output), dims_of(layer.window)},
      attributes(layer.activation));
}

std::unique_ptr<LayerKernel> make_convolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
                                              const dnnl::convolution_forward::primitive_desc& descriptor) {
  return std::make_unique<Convolution>(context, layer, place, descriptor);
}

}  // namespace distmnist::cpu
