#include "lib/backend/cpu/plan.h"

#include <algorithm>
#include <utility>

#include "lib/backend/cpu/builtin/amx_convolution.h"
#include "lib/backend/cpu/builtin/amx_dense.h"
#include "lib/backend/cpu/builtin/dense.h"
#include "lib/backend/cpu/builtin/fused_convolution.h"
#include "lib/backend/cpu/builtin/rounding.h"
#include "lib/backend/cpu/elementwise.h"
#include "lib/backend/cpu/onednn/convolution.h"
#include "lib/backend/cpu/onednn/fully_connected.h"
#include "lib/backend/cpu/onednn/pooling.h"

namespace distmnist::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

// Walks the layers in order; each call takes the current tensor on to the layer's output.
class PlanBuilder {
 public:
  PlanBuilder(const PlanParts& parts, std::int64_t batch)
      : graph_(parts.graph),
        options_(parts.options),
        builtin_(parts.builtin),
        uses_builtin_(parts.uses_builtin),
        context_{options_, device_, builtin_, parts.parameters},
        plan_(std::make_unique<Plan>()) {
    plan_->batch = batch;
    plan_->names.resize(graph_.layers.size());
    plan_->first_trained_layer =
        static_cast<std::size_t>(std::ranges::find_if(graph_.layers, has_variables) - graph_.layers.begin());
    device_.engine = dnnl::engine(dnnl::engine::kind::cpu, 0);
    device_.stream = dnnl::stream(device_.engine);
    device_.scratchpad = &plan_->scratchpad;
  }

  std::unique_ptr<Plan> build() {
    plan_->input = dnnl::memory(plain(graph_.input), device_.engine, DNNL_MEMORY_NONE);
    current_.value = plan_->input;
    if (rounds()) {
      const Tensor rounded = new_tensor(plan_->input.get_desc(), false);
      append(make_rounded_copy(current_, rounded), rounded);
    }
    for (; layer_ < graph_.layers.size(); ++layer_) std::visit(*this, graph_.layers[layer_]);
    --layer_;  // what makes the logits flat counts as part of the last layer
    flatten(graph_.output());
    plan_->logits = current_;
    for (SharedBuffer& buffer : plan_->gradients) buffer.bind();
    plan_->scratchpad.bind();
    return std::move(plan_);
  }

  void operator()(const Conv2d& layer) {
    unflatten(layer.input);
    if (can_fuse(layer_)) return fuse(layer);
    name("oneDNN convolution");
    const auto descriptor = convolution_descriptor(device_, layer, plan_->batch);
    change_layout(descriptor.src_desc());
    const Tensor output = new_output(descriptor.dst_desc());
    append(make_convolution(context_, layer, place(output), descriptor), output);
    round_product();
  }
  void operator()(const MaxPool2d& layer) { pool(dnnl::algorithm::pooling_max, layer); }
  void operator()(const AvgPool2d& layer) { pool(dnnl::algorithm::pooling_avg_exclude_padding, layer); }
  void operator()(const Flatten& layer) {
    const std::size_t before = plan_->kernels.size();
    flatten(layer.input);
    // A view of the same memory is no work, and so is nothing at all.
    name(plan_->kernels.size() > before + 1 ? "oneDNN reorder" : "no work: same memory layout");
  }
  void operator()(const FullyConnected& layer) {
    flatten(layer.input);
    const Tensor output = new_output(plain(layer.output));
    // With two planes for a number, packing a layer of few outputs costs more than tiles save: with 10 outputs a step
    // took a third longer than with vectors, with 16 a quarter, with 32 as long, with 64 less. With one plane it never
    // took longer.
    const bool in_tiles = uses_tiles() && (rounds() || layer.output.size() > kBlockSide);
    name(!uses_builtin_ ? "oneDNN inner product"
         : !in_tiles    ? "built-in matrix products"
         : rounds()     ? "built-in matrix products in AMX tiles"
                        : "built-in matrix products in AMX tiles, two bfloat16 for a float32");
    if (in_tiles) {
      return append(make_amx_dense(context_, layer, place(output), {.planes = planes(), .logits = is_last()}), output);
    }
    append(uses_builtin_ ? make_dense(context_, layer, place(output))
                         : make_fully_connected(context_, layer, place(output)),
           output);
    round_product();
  }
  void operator()(const Dropout& layer) {
    // The current tensor may be an image that lies flat or not; either plain layout has the mask's order.
    if (!is_flat(current_.layout())) change_layout(plain(layer.input));
    elementwise(layer);
  }
  void operator()(const ElementwiseLayer& layer) { elementwise(layer); }

 private:
  // Whether the convolution and the pool at `index` are one kernel of our builtin.
  bool can_fuse(std::size_t index) const {
    if (!uses_builtin_ || index + 1 >= graph_.layers.size()) return false;
    const auto* convolution = std::get_if<Conv2d>(&graph_.layers[index]);
    const auto* pool = std::get_if<MaxPool2d>(&graph_.layers[index + 1]);
    if (convolution == nullptr || pool == nullptr || !is_fusible(*pool)) return false;
    const FusedConvolution kind = fused_convolution_of(*convolution);
    // The direct one has no gradient of its input.
    return kind == FusedConvolution::kWinograd ||
           (kind == FusedConvolution::kDirect && index <= plan_->first_trained_layer);
  }

  void fuse(const Conv2d& layer) {
    change_layout(image(layer.input, Tag::nhwc));
    const auto& pool = std::get<MaxPool2d>(graph_.layers[layer_ + 1]);
    const bool plain_output = !can_fuse(layer_ + 2);
    const Tensor output = new_output(image(pool.output, plain_output ? Tag::nchw : Tag::nhwc));
    const bool in_tiles = uses_tiles() && fits_tiles(layer);
    const bool direct = fused_convolution_of(layer) == FusedConvolution::kDirect;
    name(in_tiles ? (rounds() ? "built-in convolution in AMX tiles"
                              : "built-in convolution in AMX tiles, two bfloat16 for a float32")
         : direct ? "built-in direct convolution"
                  : "built-in Winograd convolution");
    append(in_tiles ? make_amx_convolution(context_, layer, place(output),
                                           {.plain_output = plain_output, .planes = planes()})
                    : make_fused_convolution(context_, layer, place(output), plain_output),
           output);
    ++layer_;  // The pool is done.
    name("part of the convolution");
    if (!in_tiles) round_product();
  }

  // Kernels in tiles make their factors of what they take and, in bfloat16, round what they return, by themselves.
  bool uses_tiles() const { return uses_builtin_ && builtin_.amx != nullptr; }
  int planes() const { return rounds() ? kRounded : kNearlyFloat; }
  bool is_last() const { return layer_ + 1 == graph_.layers.size(); }
  bool rounds() const { return options_.precision == Precision::kBf16; }
  // In bfloat16: the current tensor is a factor of the next product, its gradient of this one's gradients. Logits stay.
  void round_product() {
    if (!rounds()) return;
    append(make_rounding(builtin_.pool, current_, is_last()), current_);
  }  // Of the layer at hand, which takes the current tensor to `output`.
  LayerPlace place(const Tensor& output) const { return {layer_, current_, output}; }

  static bool is_flat(const dnnl::memory::desc& layout) { return dims_of(layout).size() == 2; }
  static bool is_flat(const Shape& shape) { return shape.height == 1 && shape.width == 1; }

  dnnl::memory::desc flat(std::int64_t size) const {
    return {{plan_->batch, size}, dnnl::memory::data_type::f32, Tag::ab};
  }
  dnnl::memory::desc image(const Shape& shape, Tag tag = Tag::nchw) const {
    return {{plan_->batch, shape.channels, shape.height, shape.width}, dnnl::memory::data_type::f32, tag};
  }
  dnnl::memory::desc plain(const Shape& shape) const { return is_flat(shape) ? flat(shape.size()) : image(shape); }

  // A tensor with memory of its own; its gradient, if it has one, lies in the buffer where the current tensor's does
  // not.
  Tensor new_tensor(const dnnl::memory::desc& layout, bool with_gradient) {
    Tensor tensor{.value = dnnl::memory(layout, device_.engine)};
    if (with_gradient) {
      tensor.gradient_buffer = &plan_->gradients[current_.gradient_buffer == &plan_->gradients[0] ? 1 : 0];
      tensor.gradient = tensor.gradient_buffer->share(layout, device_.engine);
    }
    return tensor;
  }
  // A gradient is needed behind the first layer with variables only.
  Tensor new_output(const dnnl::memory::desc& layout) {
    return new_tensor(layout, layer_ >= plan_->first_trained_layer);
  }

  void name(const char* of_kernel) { plan_->names[layer_] = of_kernel; }
  void append(std::unique_ptr<LayerKernel> kernel, const Tensor& output) {
    plan_->kernels.push_back({layer_, std::move(kernel)});
    current_ = output;
  }

  void change_layout(const dnnl::memory::desc& wanted) {
    if (current_.layout() == wanted) return;
    const Tensor output = new_tensor(wanted, current_.needs_gradient());
    append(make_layout_change(device_, current_, output), output);
  }

  // The current tensor, which is plain, under another shape; its gradient stays in the same memory.
  void view(const dnnl::memory::desc& layout) {
    Tensor output{.value = dnnl::memory(layout, device_.engine, DNNL_MEMORY_NONE),
                  .gradient_buffer = current_.gradient_buffer};
    if (current_.needs_gradient()) output.gradient = output.gradient_buffer->share(layout, device_.engine);
    append(make_view(current_, output), output);
  }

  void flatten(const Shape& shape) {
    if (is_flat(current_.layout())) return;
    change_layout(image(shape));
    view(flat(shape.size()));
  }
  void unflatten(const Shape& shape) {
    if (is_flat(current_.layout())) view(image(shape));
  }

  void elementwise(const ElementwiseLayer& layer) {
    name("built-in loop");
    const Tensor output = new_output(current_.layout());
    append(make_elementwise(context_, layer, place(output)), output);
  }

  template <typename PoolLayer>
  void pool(dnnl::algorithm algorithm, const PoolLayer& layer) {
    name("oneDNN pooling");
    unflatten(layer.input);
    const dnnl::memory::dims dims{plan_->batch, layer.output.channels, layer.output.height, layer.output.width};
    const PoolingForm form{algorithm, layer.window};
    const auto descriptor = pooling_descriptor(device_, form, current_.layout(), dims);
    const Tensor output = new_output(descriptor.dst_desc());
    append(make_pooling(device_, form, place(output), descriptor), output);
  }

  const Graph& graph_;
  const CompileOptions& options_;
  Device device_;
  BuiltinKernels builtin_;
  bool uses_builtin_;
  LayerContext context_;
  std::unique_ptr<Plan> plan_;
  Tensor current_;
  std::size_t layer_ = 0;
};

}  // namespace

std::unique_ptr<Plan> make_plan(const PlanParts& parts, std::int64_t batch) {
  return PlanBuilder(parts, batch).build();
}

}  // namespace distmnist::cpu
