// The three convolutions of a training step by cuDNN, each prepared once for its shapes.
//
// This is cuDNN's legacy interface, not its graph interface: one call per pass covers float32, TF32 and bfloat16 in
// both layouts, it says which algorithms are deterministic, and it needs no header library beyond the toolkit and no
// compiler at run time (the graph interface's fused engines are compiled when they are first used). What it cannot fuse
// here, bias, relu and pooling with the saved choice, is one own kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/tensor_view.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

// Passes that a convolution is prepared for.
struct DnnConvolutionConfig {
  TensorView x, y;    // of one type and layout; y's height and width follow from x, window, padding and stride
  Window window;      // padded the same on both sides; see symmetric_padding()
  bool tf32 = false;  // float32 factors may be rounded to TF32
  bool needs_dx = false;
};

inline bool symmetric_padding(const Window& window) {
  return window.pad_top == window.pad_bottom && window.pad_left == window.pad_right;
}

using TensorDescriptor = Owner<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Owner<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = Owner<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

// Whether cuDNN infers the output that the config says; needs no GPU. Error (kInternal) names both shapes.
void check_output_shape(const DnnConvolutionConfig& config);

// What kernels of tensor cores load at once; nothing tells cuDNN of a tensor that is aligned less.
inline constexpr std::size_t kDnnAlignment = 16;  // bytes

// Filters have the type of x, and x's layout: OIHW for kNchw, OHWI for kNhwc. Only deterministic algorithms are used.
class DnnConvolution {
 public:
  // `handle` is on the current device and outlives it. Error (kInternal) where cuDNN has no algorithm.
  DnnConvolution(cudnnHandle_t handle, const DnnConvolutionConfig& config);

  // Device memory that forward() and backward_data() need, and backward_filter() needs.
  std::size_t data_workspace_bytes() const { return data_workspace_bytes_; }
  std::size_t filter_workspace_bytes() const { return filter_workspace_bytes_; }

  // Each is enqueued on `stream`; x, y and so on have the config's shapes and are aligned to kDnnAlignment.
  void forward(cudaStream_t stream, const void* x, const void* filters, void* y, void* workspace) const;
  void backward_data(cudaStream_t stream, const void* dy, const void* filters, void* dx, void* workspace) const;
  void backward_filter(cudaStream_t stream, const void* x, const void* dy, void* dfilters, void* workspace) const;

 private:
  void choose_forward(bool exact_f32);
  void choose_data(bool exact_f32);
  void choose_filter(bool exact_f32);

  cudnnHandle_t handle_;
  TensorDescriptor x_, y_;
  FilterDescriptor filters_;
  // One for each pass: its kind of arithmetic is set to the chosen algorithm's.
  ConvolutionDescriptor forward_, data_, filter_;
  cudnnConvolutionFwdAlgo_t forward_algorithm_{};
  cudnnConvolutionBwdDataAlgo_t data_algorithm_{};
  cudnnConvolutionBwdFilterAlgo_t filter_algorithm_{};
  std::size_t data_workspace_bytes_ = 0;
  std::size_t filter_workspace_bytes_ = 0;
};

}  // namespace distmnist::cuda
