// What the layers of the cpu backend share: a step, a tensor between two layers, one oneDNN primitive, the kernel
// interface.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/cpu/builtin/amx/amx_kernels.h"
#include "lib/backend/cpu/builtin/vector/vector_kernels.h"
#include "lib/backend/cpu/float_buffer.h"
#include "lib/backend/cpu/onednn/dnnl_compat.h"
#include "lib/backend/cpu/parameters.h"
#include "lib/base/thread_pool.h"

namespace distmnist::cpu {

// One pass over a plan.
struct Step {
  bool training = false;
  std::uint64_t first_sample = 0;  // in training, as in Batch
  const GradientReady* ready = nullptr;
  // In resident training: variables to be updated once the kernel that computed their gradients has returned.
  std::vector<Range>* updates = nullptr;

  bool resident() const { return updates != nullptr; }
  void report(Range variable) const {
    if (updates != nullptr) updates->push_back(variable);
    if (ready != nullptr && *ready) (*ready)(variable);
  }
};

// One layer, or a change of layout between two, compiled for one batch size. Knows its input and output tensors.
class LayerKernel {
 public:
  virtual ~LayerKernel() = default;
  virtual void forward(const Step& step) = 0;
  // Reads the gradient of the output (and may overwrite it), writes the gradients of its variables, reports them, and
  // then writes the gradient of the input, if there is one. Follows a forward() of the same step. In resident training
  // it may update a variable by itself, after its last use, in the place of reporting it.
  virtual void backward(const Step& step) = 0;
  // Adds what ExecutorProbe::choices() tells, of the last step; nothing where the kernel has none.
  virtual void add_choices(std::vector<LayerChoices>&) const {}
};

// Memory of several tensors of which one is needed at a time. Each has its address after bind() only.
class SharedBuffer {
 public:
  dnnl::memory share(const dnnl::memory::desc& layout, const dnnl::engine& engine) {
    size_ = std::max(size_, layout.get_size());
    users_.push_back(dnnl::memory(layout, engine, DNNL_MEMORY_NONE));
    return users_.back();
  }
  void bind() {
    buffer_ = FloatBuffer((size_ + sizeof(float) - 1) / sizeof(float));
    for (dnnl::memory& user : users_) user.set_data_handle(buffer_.data());
  }

 private:
  std::vector<dnnl::memory> users_;
  std::size_t size_ = 0;  // bytes
  FloatBuffer buffer_;
};

// The numbers between two layers, and the gradient of the loss with respect to them, in one layout. Flat samples are
// [batch, channels], others [batch, channels, height, width] in whatever order oneDNN prefers.
struct Tensor {
  dnnl::memory value;
  dnnl::memory gradient = {};               // empty where no gradient is needed
  SharedBuffer* gradient_buffer = nullptr;  // where `gradient` lies

  dnnl::memory::desc layout() const { return value.get_desc(); }
  bool needs_gradient() const { return gradient_buffer != nullptr; }
};

// oneDNN's engine and stream with the scratchpad that all primitives of a plan take turns in. In oneDNN's own
// scratchpad mode a primitive would have to run on the thread that made it.
struct Device {
  dnnl::engine engine;
  dnnl::stream stream;
  SharedBuffer* scratchpad = nullptr;
};

// The built-in kernels and the threads that they run on.
struct BuiltinKernels {
  ThreadPool& pool;
  const VectorKernels& vector;
  const AmxKernels* amx = nullptr;  // null if tiles are not used
};

// What all layers of a plan are compiled with.
struct LayerContext {
  const CompileOptions& options;
  const Device& device;
  const BuiltinKernels& builtin;
  Parameters& parameters;
};

// The place of one layer in a plan. A fused kernel has the index of its first layer.
struct LayerPlace {
  std::size_t index = 0;  // in the graph
  Tensor input, output;

  std::int64_t batch() const { return dims_of(output.layout())[0]; }
};

// The numbers of a tensor, in the order of its layout.
inline float* floats(const dnnl::memory& memory) {
  return static_cast<float*>(memory.get_data_handle());
}
// All of them, with the padding of blocked layouts, which is zero and stays zero.
inline std::span<float> all_floats(const dnnl::memory& memory) {
  return {floats(memory), memory.get_desc().get_size() / sizeof(float)};
}

inline WindowDims dims_of(const Window& window) {
  return {.kernel = {window.height, window.width},
          .strides = {window.stride, window.stride},
          .pad_before = {window.pad_top, window.pad_left},
          .pad_after = {window.pad_bottom, window.pad_right}};
}

// Attributes that every primitive here is made with; a relu is applied to the result if asked for.
inline dnnl::primitive_attr attributes(Activation activation = Activation::kNone) {
  dnnl::primitive_attr result;
  result.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (activation == Activation::kRelu) {
    dnnl::post_ops operations;
    append_relu(operations);
    result.set_post_ops(operations);
  }
  return result;
}

// A primitive with its arguments, ready to run.
class Operation {
 public:
  Operation() = default;
  template <typename PrimitiveDescriptor>
  Operation(const Device& device, dnnl::primitive primitive, const PrimitiveDescriptor& descriptor,
            std::unordered_map<int, dnnl::memory> arguments)
      : stream_(device.stream), primitive_(std::move(primitive)), arguments_(std::move(arguments)) {
    arguments_.emplace(DNNL_ARG_SCRATCHPAD, device.scratchpad->share(descriptor.scratchpad_desc(), device.engine));
  }

  explicit operator bool() const { return static_cast<bool>(primitive_); }
  void run() { primitive_.execute(stream_, arguments_); }

 private:
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

// A copy from one layout to another.
inline Operation make_reorder(const Device& device, dnnl::memory from, dnnl::memory to) {
  const dnnl::reorder::primitive_desc descriptor(device.engine, from.get_desc(), device.engine, to.get_desc(),
                                                 attributes());
  return Operation(device, dnnl::reorder(descriptor), descriptor, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

// A copy in canonical order, whatever the layout. For what is asked for once in a while.
inline std::vector<float> canonical_copy(const Device& device, const dnnl::memory& memory) {
  const dnnl::memory::dims dims = dims_of(memory.get_desc());
  const dnnl::memory::desc plain(dims, dnnl::memory::data_type::f32,
                                 dims.size() == 2 ? dnnl::memory::format_tag::ab : dnnl::memory::format_tag::nchw);
  std::vector<float> copy(plain.get_size() / sizeof(float));
  dnnl::memory from = memory, to(plain, device.engine, copy.data());
  dnnl::stream stream = device.stream;
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return copy;
}

// The choices of a relu whose output this is, in canonical order or in whatever layout.
inline LayerChoices relu_choices(std::size_t layer, std::span<const float> output) {
  LayerChoices choices{.layer = layer, .bytes = {}};
  for (const float value : output) choices.bytes.push_back(value > 0.0f ? 1 : 0);
  return choices;
}
inline LayerChoices relu_choices(const Device& device, std::size_t layer, const dnnl::memory& output) {
  return relu_choices(layer, canonical_copy(device, output));
}

}  // namespace distmnist::cpu
