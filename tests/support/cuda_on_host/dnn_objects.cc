// Creates and describes cuDNN's objects.
#include "tests/support/cuda_on_host/dnn_objects.h"

#include <algorithm>
#include <array>
#include <span>

#include "tests/support/cuda_on_host/state.h"

namespace cuda_on_host {

std::size_t output_height(const cudnnConvolutionStruct& c, const Shape4& x, const Shape4& w) {
  return output_size(x.height, w.height, c.geometry.pad_height, c.geometry.stride_height, c.geometry.dilation_height);
}

std::size_t output_width(const cudnnConvolutionStruct& c, const Shape4& x, const Shape4& w) {
  return output_size(x.width, w.width, c.geometry.pad_width, c.geometry.stride_width, c.geometry.dilation_width);
}

}  // namespace cuda_on_host

using namespace cuda_on_host;

namespace {

std::optional<Number> number(cudnnDataType_t type) {
  if (type == CUDNN_DATA_FLOAT) return Number::kF32;
  if (type == CUDNN_DATA_BFLOAT16) return Number::kBf16;
  return std::nullopt;
}

cudnnStatus_t describe(Shape4& shape, cudnnTensorFormat_t format, cudnnDataType_t type, std::span<const int> sizes) {
  if (std::any_of(sizes.begin(), sizes.end(), [](int size) { return size <= 0; })) return CUDNN_STATUS_BAD_PARAM;
  if (!number(type) || (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC)) return CUDNN_STATUS_NOT_SUPPORTED;
  const auto size = [&](std::size_t i) { return static_cast<std::size_t>(sizes[i]); };
  shape = {.type = *number(type),
           .channels_last = format == CUDNN_TENSOR_NHWC,
           .count = size(0),
           .channels = size(1),
           .height = size(2),
           .width = size(3)};
  return CUDNN_STATUS_SUCCESS;
}

template <typename T>
cudnnStatus_t make(T** handle) {
  *handle = new T;
  return CUDNN_STATUS_SUCCESS;
}

template <typename T>
cudnnStatus_t destroy(T* handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  const std::lock_guard lock(mutex());
  if (resolve(nullptr) == nullptr) return CUDNN_STATUS_NOT_INITIALIZED;
  *handle = new cudnnContext{.device = current_device()};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return destroy(handle);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t given) {
  const std::lock_guard lock(mutex());
  cudaStream_t stream = resolve(given);
  if (stream == nullptr || stream->device != handle->device) return CUDNN_STATUS_BAD_PARAM;
  handle->stream = given;
  return CUDNN_STATUS_SUCCESS;
}

std::size_t cudnnGetVersion() {
  return CUDNN_VERSION;
}

std::size_t cudnnGetCudartVersion() {
  return CUDART_VERSION;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* descriptor) {
  return make(descriptor);
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  return destroy(descriptor);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t descriptor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  return describe(descriptor->shape, format, type, std::array{n, c, h, w});
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* descriptor) {
  return make(descriptor);
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  return destroy(descriptor);
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return describe(descriptor->shape, format, type, std::array{k, c, h, w});
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* descriptor) {
  return make(descriptor);
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
  return destroy(descriptor);
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t descriptor, int pad_height, int pad_width,
                                              int stride_height, int stride_width, int dilation_height,
                                              int dilation_width, cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  const bool fit = pad_height >= 0 && pad_width >= 0 && stride_height > 0 && stride_width > 0 && dilation_height > 0 &&
                   dilation_width > 0;
  if (!fit) return CUDNN_STATUS_BAD_PARAM;
  descriptor->geometry = {pad_height, pad_width, stride_height, stride_width, dilation_height, dilation_width};
  descriptor->correlation = mode == CUDNN_CROSS_CORRELATION;
  descriptor->compute_type = type;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor, cudnnMathType_t math) {
  descriptor->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t descriptor, int groups) {
  descriptor->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t convolution,
                                                    const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
                                                    int* n, int* c, int* height, int* width) {
  if (x->shape.channels != w->shape.channels) return CUDNN_STATUS_BAD_PARAM;
  *n = static_cast<int>(x->shape.count);
  *c = static_cast<int>(w->shape.count);
  *height = static_cast<int>(output_height(*convolution, x->shape, w->shape));
  *width = static_cast<int>(output_width(*convolution, x->shape, w->shape));
  return *height > 0 && *width > 0 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
