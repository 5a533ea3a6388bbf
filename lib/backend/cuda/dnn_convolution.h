// DnnConvolution: the three convolutions of a training step with cuDNN, prepared once for their shapes.
//
// This uses cuDNN's legacy interface rather than its graph interface. One call per pass covers float32, TF32 and
// bfloat16 in both layouts, the interface reports which algorithms are deterministic, and it needs neither a header
// library beyond the toolkit nor a compiler at run time (the graph interface compiles its fused engines on first use).
// What it cannot fuse here (bias, ReLU, and pooling with the saved choice) is one built-in kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/tensor_view.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// The shapes, arithmetic and passes that a convolution is prepared for.
struct DnnConvolutionConfig {
  TensorView x, y;    // same type and layout; y's height and width follow from x, window, padding and stride
  Window window;      // equally padded on both sides; see symmetric_padding()
  bool tf32 = false;  // float32 factors may be rounded to TF32
  bool needs_dx = false;
};

inline bool symmetric_padding(const Window& window) {
  return window.pad_top == window.pad_bottom && window.pad_left == window.pad_right;
}

using TensorDescriptor = Owner<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Owner<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = Owner<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

// Checks that cuDNN infers the output shape of the config; needs no GPU. Error (kInternal) gives both shapes.
void check_output_shape(const DnnConvolutionConfig& config);

// Tensor core kernels load this many bytes at once, and cuDNN cannot be told about tensors with smaller alignment.
inline constexpr std::size_t kDnnAlignment = 16;  // bytes

// The arrays of each pass, in device memory. Tensors have the shapes of the config and must be aligned to
// kDnnAlignment.
struct DnnForward {
  const void* x = nullptr;
  const void* filters = nullptr;
  void* y = nullptr;
  void* workspace = nullptr;  // [data_workspace_bytes()]
};
struct DnnBackwardData {
  const void* dy = nullptr;
  const void* filters = nullptr;
  void* dx = nullptr;
  void* workspace = nullptr;  // [data_workspace_bytes()]
};
struct DnnBackwardFilter {
  const void* x = nullptr;
  const void* dy = nullptr;
  void* dfilters = nullptr;
  void* workspace = nullptr;  // [filter_workspace_bytes()]
};

// Filters have the type and layout of x: OIHW for kNchw, OHWI for kNhwc. Only deterministic algorithms are used.
class DnnConvolution {
 public:
  // `handle` is for the current device and must outlive this object. Error (kInternal) if cuDNN has no algorithm.
  DnnConvolution(cudnnHandle_t handle, const DnnConvolutionConfig& config);

  // Device memory required by forward() and backward_data(), and by backward_filter().
  std::size_t data_workspace_bytes() const { return data_workspace_bytes_; }
  std::size_t filter_workspace_bytes() const { return filter_workspace_bytes_; }

  // Each function enqueues on `stream`.
  void forward(cudaStream_t stream, const DnnForward& pass) const;
  void backward_data(cudaStream_t stream, const DnnBackwardData& pass) const;
  void backward_filter(cudaStream_t stream, const DnnBackwardFilter& pass) const;

 private:
  void choose_forward(bool exact_f32);
  void choose_data(bool exact_f32);
  void choose_filter(bool exact_f32);

  cudnnHandle_t handle_;
  TensorDescriptor x_, y_;
  FilterDescriptor filters_;
  // One for each pass, set to the arithmetic of the chosen algorithm.
  ConvolutionDescriptor forward_, data_, filter_;
  cudnnConvolutionFwdAlgo_t forward_algorithm_{};
  cudnnConvolutionBwdDataAlgo_t data_algorithm_{};
  cudnnConvolutionBwdFilterAlgo_t filter_algorithm_{};
  std::size_t data_workspace_bytes_ = 0;
  std::size_t filter_workspace_bytes_ = 0;
};

}  // namespace distmnist::cuda
