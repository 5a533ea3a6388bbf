#include "lib/backend/cuda/dnn_convolution.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <vector>

#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

// Proposals that need more are rejected: their workspace would be far larger than the activations.
constexpr std::size_t kMaxWorkspaceBytes = std::size_t{512} << 20;
constexpr int kMaxAlgorithms = 16;

cudnnDataType_t dnn_type(NumberType type) {
  return type == NumberType::kF32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

cudnnTensorFormat_t format_of(Layout layout) {
  return layout == Layout::kNchw ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC;
}

int to_int(std::int64_t value) {
  return static_cast<int>(value);
}

// cuDNN's default arithmetic may round float32 factors to TF32; FMA does not.
void set_arithmetic(cudnnConvolutionDescriptor_t convolution, bool exact_f32, cudnnMathType_t chosen) {
  check(cudnnSetConvolutionMathType(convolution, exact_f32 ? CUDNN_FMA_MATH : chosen),
        "set a convolution's arithmetic");
}

// Winograd's transforms lose several digits of float32.
bool loses_digits(cudnnConvolutionFwdAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD || algorithm == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED;
}
bool loses_digits(cudnnConvolutionBwdDataAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD ||
         algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED;
}
bool loses_digits(cudnnConvolutionBwdFilterAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD ||
         algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED;
}

template <typename Algorithm>
struct Choice {
  Algorithm algorithm;
  cudnnMathType_t arithmetic;
  std::size_t workspace_bytes;
  std::size_t most_bytes;  // maximum workspace
};

// What an algorithm is chosen for.
struct Pass {
  const char* name;
  cudnnConvolutionDescriptor_t convolution;  // its arithmetic becomes that of the choice
  bool exact_f32;
};

// Returns the first of cuDNN's proposals, which are sorted best first, that is deterministic, small enough and precise
// enough. The proposals come from heuristics and do not cover all that cuDNN can do. `usual` is therefore tried last,
// with any amount of workspace: according to the documentation, it always adds in the same order and supports every
// type and layout. ask_workspace(algorithm, &bytes) asks
// cuDNN whether the algorithm works with this arithmetic, and how much memory it needs.
template <typename Proposal, typename AskWorkspace>
auto choose(const Pass& pass, std::span<const Proposal> proposals, decltype(Proposal::algo) usual,
            AskWorkspace ask_workspace) {
  std::vector<Choice<decltype(Proposal::algo)>> choices;
  for (const Proposal& each : proposals) {
    const bool rounds = each.mathType == CUDNN_TENSOR_OP_MATH || each.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
    if (each.status != CUDNN_STATUS_SUCCESS || each.determinism != CUDNN_DETERMINISTIC) continue;
    if (pass.exact_f32 && (rounds || loses_digits(each.algo))) continue;
    choices.push_back({each.algo, each.mathType, each.memory, kMaxWorkspaceBytes});
  }
  constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();
  choices.push_back({usual, CUDNN_TENSOR_OP_MATH, 0, kAny});
  choices.push_back({usual, CUDNN_DEFAULT_MATH, 0, kAny});
  cudnnStatus_t last = CUDNN_STATUS_SUCCESS;
  for (auto& each : choices) {
    std::size_t bytes = 0;
    set_arithmetic(pass.convolution, pass.exact_f32, each.arithmetic);
    last = ask_workspace(each.algorithm, &bytes);
    each.workspace_bytes = std::max(each.workspace_bytes, bytes);
    if (last == CUDNN_STATUS_SUCCESS && each.workspace_bytes <= each.most_bytes) return each;
  }
  fail(ExitCode::kInternal, "cuDNN has no repeatable algorithm for the {} pass of a convolution ({})", pass.name,
       cudnnGetErrorString(last));
}

// A pass that cuDNN's heuristics do not support has no proposals.
template <typename Proposal>
std::span<const Proposal> proposed(cudnnStatus_t status, const std::array<Proposal, kMaxAlgorithms>& list, int count) {
  return {list.data(), status == CUDNN_STATUS_SUCCESS ? static_cast<std::size_t>(count) : 0};
}

bool is_exact_f32(const DnnConvolutionConfig& config) {
  return config.x.type == NumberType::kF32 && !config.tf32;
}

TensorDescriptor describe(const TensorView& view) {
  cudnnTensorDescriptor_t raw = nullptr;
  check(cudnnCreateTensorDescriptor(&raw), "describe a tensor");
  TensorDescriptor descriptor(raw);
  check(cudnnSetTensor4dDescriptor(raw, format_of(view.layout), dnn_type(view.type), view.batch, view.channels,
                                   view.height, view.width),
        "describe a tensor");
  return descriptor;
}

FilterDescriptor describe_filters(const DnnConvolutionConfig& config) {
  cudnnFilterDescriptor_t raw = nullptr;
  check(cudnnCreateFilterDescriptor(&raw), "describe filters");
  FilterDescriptor descriptor(raw);
  check(cudnnSetFilter4dDescriptor(raw, dnn_type(config.x.type), format_of(config.x.layout), config.y.channels,
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
  fail(ExitCode::kInternal, "cuDNN infers {}x{}x{}x{} for a convolution's output, but the model says {}x{}x{}x{}",
       batch, channels, height, width, config.y.batch, config.y.channels, config.y.height, config.y.width);
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
  choose_forward(is_exact_f32(config));
  choose_filter(is_exact_f32(config));
  if (config.needs_dx) choose_data(is_exact_f32(config));
}

void DnnConvolution::choose_forward(bool exact_f32) {
  int count = 0;
  std::array<cudnnConvolutionFwdAlgoPerf_t, kMaxAlgorithms> list{};
  const cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(handle_, x_.get(), filters_.get(), forward_.get(),
                                                                      y_.get(), kMaxAlgorithms, &count, list.data());
  const auto ask = [&](cudnnConvolutionFwdAlgo_t algorithm, std::size_t* bytes) {
    return cudnnGetConvolutionForwardWorkspaceSize(handle_, x_.get(), filters_.get(), forward_.get(), y_.get(),
                                                   algorithm, bytes);
  };
  const auto chosen = choose({"forward", forward_.get(), exact_f32}, proposed(status, list, count),
                             CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, ask);
  forward_algorithm_ = chosen.algorithm;
  data_workspace_bytes_ = std::max(data_workspace_bytes_, chosen.workspace_bytes);
}

void DnnConvolution::choose_data(bool exact_f32) {
  int count = 0;
  std::array<cudnnConvolutionBwdDataAlgoPerf_t, kMaxAlgorithms> list{};
  const cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(
      handle_, filters_.get(), y_.get(), data_.get(), x_.get(), kMaxAlgorithms, &count, list.data());
  const auto ask = [&](cudnnConvolutionBwdDataAlgo_t algorithm, std::size_t* bytes) {
    return cudnnGetConvolutionBackwardDataWorkspaceSize(handle_, filters_.get(), y_.get(), data_.get(), x_.get(),
                                                        algorithm, bytes);
  };
  const auto chosen =
      choose({"data", data_.get(), exact_f32}, proposed(status, list, count), CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, ask);
  data_algorithm_ = chosen.algorithm;
  data_workspace_bytes_ = std::max(data_workspace_bytes_, chosen.workspace_bytes);
}

void DnnConvolution::choose_filter(bool exact_f32) {
  int count = 0;
  std::array<cudnnConvolutionBwdFilterAlgoPerf_t, kMaxAlgorithms> list{};
  const cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
      handle_, x_.get(), y_.get(), filter_.get(), filters_.get(), kMaxAlgorithms, &count, list.data());
  const auto ask = [&](cudnnConvolutionBwdFilterAlgo_t algorithm, std::size_t* bytes) {
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle_, x_.get(), y_.get(), filter_.get(), filters_.get(),
                                                          algorithm, bytes);
  };
  const auto chosen = choose({"filter", filter_.get(), exact_f32}, proposed(status, list, count),
                             CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, ask);
  filter_algorithm_ = chosen.algorithm;
  filter_workspace_bytes_ = chosen.workspace_bytes;
}

void DnnConvolution::forward(cudaStream_t stream, const DnnForward& pass) const {
  constexpr float kOne = 1, kZero = 0;
  check(cudnnSetStream(handle_, stream), "choose cuDNN's stream");
  check(cudnnConvolutionForward(handle_, &kOne, x_.get(), pass.x, filters_.get(), pass.filters, forward_.get(),
                                forward_algorithm_, pass.workspace, data_workspace_bytes_, &kZero, y_.get(), pass.y),
        "start a convolution");
}

void DnnConvolution::backward_data(cudaStream_t stream, const DnnBackwardData& pass) const {
  constexpr float kOne = 1, kZero = 0;
  check(cudnnSetStream(handle_, stream), "choose cuDNN's stream");
  check(cudnnConvolutionBackwardData(handle_, &kOne, filters_.get(), pass.filters, y_.get(), pass.dy, data_.get(),
                                     data_algorithm_, pass.workspace, data_workspace_bytes_, &kZero, x_.get(), pass.dx),
        "start a convolution's data gradient");
}

void DnnConvolution::backward_filter(cudaStream_t stream, const DnnBackwardFilter& pass) const {
  constexpr float kOne = 1, kZero = 0;
  check(cudnnSetStream(handle_, stream), "choose cuDNN's stream");
  check(cudnnConvolutionBackwardFilter(handle_, &kOne, x_.get(), pass.x, y_.get(), pass.dy, filter_.get(),
                                       filter_algorithm_, pass.workspace, filter_workspace_bytes_, &kZero,
                                       filters_.get(), pass.dfilters),
        "start a convolution's filter gradient");
}

}  // namespace distmnist::cuda
