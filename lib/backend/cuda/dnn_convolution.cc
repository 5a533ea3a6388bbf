#include "lib/backend/cuda/dnn_convolution.h"

#include <algorithm>
#include <array>
#include <span>

#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

// An algorithm that wants more is not used: its workspace would dwarf the activations.
constexpr std::size_t kMaxWorkspaceBytes = std::size_t{512} << 20;
constexpr int kMaxAlgorithms = 16;

cudnnDataType_t data_type(NumberType type) {
  return type == NumberType::kF32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

cudnnTensorFormat_t format_of(Layout layout) {
  return layout == Layout::kNchw ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC;
}

int to_int(std::int64_t value) {
  return static_cast<int>(value);
}

// The first of cuDNN's candidates, best first, that is there, repeatable, small enough and of the precision asked for.
template <typename Candidate>
const Candidate& choose(std::span<const Candidate> candidates, bool exact_f32, const char* pass) {
  const auto fits = [&](const Candidate& each) {
    const bool rounds = each.mathType == CUDNN_TENSOR_OP_MATH || each.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
    return each.status == CUDNN_STATUS_SUCCESS && each.determinism == CUDNN_DETERMINISTIC &&
           each.memory <= kMaxWorkspaceBytes && !(exact_f32 && rounds);
  };
  const auto found = std::ranges::find_if(candidates, fits);
  if (found == candidates.end()) {
    fail(ExitCode::kInternal, "cuDNN has no repeatable algorithm for the {} pass of a convolution", pass);
  }
  return *found;
}

// cuDNN's default arithmetic may round float32 factors to TF32, FMA does not.
void set_arithmetic(cudnnConvolutionDescriptor_t convolution, bool exact_f32, cudnnMathType_t chosen) {
  check(cudnnSetConvolutionMathType(convolution, exact_f32 ? CUDNN_FMA_MATH : chosen),
        "set a convolution's arithmetic");
}

bool is_exact_f32(const DnnConvolutionConfig& config) {
  return config.x.type == NumberType::kF32 && !config.tf32;
}

TensorDescriptor describe(const TensorView& view) {
  cudnnTensorDescriptor_t raw = nullptr;
  check(cudnnCreateTensorDescriptor(&raw), "describe a tensor");
  TensorDescriptor descriptor(raw);
  check(cudnnSetTensor4dDescriptor(raw, format_of(view.layout), data_type(view.type), view.batch, view.channels,
                                   view.height, view.width),
        "describe a tensor");
  return descriptor;
}

FilterDescriptor describe_filters(const DnnConvolutionConfig& config) {
  cudnnFilterDescriptor_t raw = nullptr;
  check(cudnnCreateFilterDescriptor(&raw), "describe filters");
  FilterDescriptor descriptor(raw);
  check(cudnnSetFilter4dDescriptor(raw, data_type(config.x.type), format_of(config.x.layout), config.y.channels,
                                   config.x.channels, to_int(config.window.height), to_int(config.window.width)),
        "describe filters");
  return descriptor;
}

ConvolutionDescriptor describe_convolution(const DnnConvolutionConfig& config) {
  const Window& window = config.window;
  cudnnConvolutionDescriptor_t raw = nullptr;
  check(cudnnCreateConvolutionDescriptor(&raw), "describe a convolution");
  ConvolutionDescriptor descriptor(raw);
  check(cudnnSetConvolution2dDescriptor(raw, to_int(window.pad_top), to_int(window.pad_left), to_int(window.stride),
                                        to_int(window.stride), 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "describe a convolution");
  set_arithmetic(raw, is_exact_f32(config), CUDNN_TENSOR_OP_MATH);
  return descriptor;
}

}  // namespace

void check_output_shape(const DnnConvolutionConfig& config) {
  const TensorDescriptor x = describe(config.x);
  const FilterDescriptor filters = describe_filters(config);
  const ConvolutionDescriptor convolution = describe_convolution(config);
  int batch = 0, channels = 0, height = 0, width = 0;
  check(cudnnGetConvolution2dForwardOutputDim(convolution.get(), x.get(), filters.get(), &batch, &channels, &height,
                                              &width),
        "infer a convolution's output shape");
  if (batch == config.y.batch && channels == config.y.channels && height == config.y.height &&
      width == config.y.width) {
    return;
  }
  fail(ExitCode::kInternal, "cuDNN infers {}x{}x{}x{} for a convolution's output, the model says {}x{}x{}x{}", batch,
       channels, height, width, config.y.batch, config.y.channels, config.y.height, config.y.width);
}

DnnConvolution::DnnConvolution(cudnnHandle_t handle, const DnnConvolutionConfig& config)
    : handle_(handle),
      x_(describe(config.x)),
      y_(describe(config.y)),
      filters_(describe_filters(config)),
      forward_(describe_convolution(config)),
      data_(describe_convolution(config)),
      filter_(describe_convolution(config)) {
  check_output_shape(config);
  const bool exact_f32 = is_exact_f32(config);
  int count = 0;

  std::array<cudnnConvolutionFwdAlgoPerf_t, kMaxAlgorithms> forward{};
  check(cudnnGetConvolutionForwardAlgorithm_v7(handle, x_.get(), filters_.get(), forward_.get(), y_.get(),
                                               kMaxAlgorithms, &count, forward.data()),
        "choose a convolution's forward algorithm");
  const auto& chosen =
      choose(std::span<const cudnnConvolutionFwdAlgoPerf_t>(forward.data(), count), exact_f32, "forward");
  forward_algorithm_ = chosen.algo;
  set_arithmetic(forward_.get(), exact_f32, chosen.mathType);
  data_workspace_bytes_ = chosen.memory;

  std::array<cudnnConvolutionBwdFilterAlgoPerf_t, kMaxAlgorithms> filter{};
  check(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, x_.get(), y_.get(), filter_.get(), filters_.get(),
                                                      kMaxAlgorithms, &count, filter.data()),
        "choose a convolution's filter algorithm");
  const auto& chosen_filter =
      choose(std::span<const cudnnConvolutionBwdFilterAlgoPerf_t>(filter.data(), count), exact_f32, "filter");
  filter_algorithm_ = chosen_filter.algo;
  set_arithmetic(filter_.get(), exact_f32, chosen_filter.mathType);
  filter_workspace_bytes_ = chosen_filter.memory;

  if (!config.needs_dx) return;
  std::array<cudnnConvolutionBwdDataAlgoPerf_t, kMaxAlgorithms> data{};
  check(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, filters_.get(), y_.get(), data_.get(), x_.get(),
                                                    kMaxAlgorithms, &count, data.data()),
        "choose a convolution's data algorithm");
  const auto& chosen_data =
      choose(std::span<const cudnnConvolutionBwdDataAlgoPerf_t>(data.data(), count), exact_f32, "data");
  data_algorithm_ = chosen_data.algo;
  set_arithmetic(data_.get(), exact_f32, chosen_data.mathType);
  data_workspace_bytes_ = std::max(data_workspace_bytes_, chosen_data.memory);
}

void DnnConvolution::forward(cudaStream_t stream, const void* x, const void* filters, void* y, void* workspace) const {
  constexpr float kOne = 1, kZero = 0;
  check(cudnnSetStream(handle_, stream), "choose cuDNN's stream");
  check(cudnnConvolutionForward(handle_, &kOne, x_.get(), x, filters_.get(), filters, forward_.get(),
                                forward_algorithm_, workspace, data_workspace_bytes_, &kZero, y_.get(), y),
        "start a convolution");
}

void DnnConvolution::backward_data(cudaStream_t stream, const void* dy, const void* filters, void* dx,
                                   void* workspace) const {
  constexpr float kOne = 1, kZero = 0;
  check(cudnnSetStream(handle_, stream), "choose cuDNN's stream");
  check(cudnnConvolutionBackwardData(handle_, &kOne, filters_.get(), filters, y_.get(), dy, data_.get(),
                                     data_algorithm_, workspace, data_workspace_bytes_, &kZero, x_.get(), dx),
        "start a convolution's data gradient");
}

void DnnConvolution::backward_filter(cudaStream_t stream, const void* x, const void* dy, void* dfilters,
                                     void* workspace) const {
  constexpr float kOne = 1, kZero = 0;
  check(cudnnSetStream(handle_, stream), "choose cuDNN's stream");
  check(cudnnConvolutionBackwardFilter(handle_, &kOne, x_.get(), x, y_.get(), dy, filter_.get(), filter_algorithm_,
                                       workspace, filter_workspace_bytes_, &kZero, filters_.get(), dfilters),
        "start a convolution's filter gradient");
}

}  // namespace distmnist::cuda
