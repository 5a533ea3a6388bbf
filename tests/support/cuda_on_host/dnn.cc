// cuDNN's calls for convolutions: the choice of an algorithm, and the three passes.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>

#include "tests/support/cuda_on_host/convolution.h"
#include "tests/support/cuda_on_host/dnn_objects.h"
#include "tests/support/cuda_on_host/state.h"

using namespace cuda_on_host;

namespace {

constexpr std::size_t kMiB = 1 << 20;
// The amount that tensor core kernels load at once. cuDNN's descriptors do not contain the alignment of a tensor.
constexpr std::size_t kAlignment = 16;

// An algorithm of the stand-in's cuDNN for a pass, the fastest first.
struct Candidate {
  int algorithm;
  bool repeatable;
  bool tensor_cores;
  std::size_t memory;
  float error = 0;  // relative error of its results
};
// Winograd needs more memory than exists, or loses digits in its transformations. The first backward algorithms sum
// with atomics.
constexpr Candidate kForward[] = {{CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, true, true, 4096 * kMiB},
                                  {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, true, true, kMiB},
                                  {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, true, false, kMiB, 1e-3F},
                                  {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, true, false, kMiB / 2},
                                  {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, true, false, 0}};
constexpr Candidate kBackwardData[] = {{CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, false, true, 0},
                                       {CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED, true, true, 4096 * kMiB},
                                       {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, true, true, 2 * kMiB},
                                       {CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED, true, false, kMiB, 1e-3F},
                                       {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, false, false, 0},
                                       {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, true, false, kMiB}};
constexpr Candidate kBackwardFilter[] = {
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, false, true, 0},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, true, true, 4096 * kMiB},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, true, true, 3 * kMiB},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, true, false, kMiB, 1e-3F},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, false, false, kMiB},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, true, false, kMiB}};

bool uses_tensor_cores(const cudnnConvolutionStruct& convolution) {
  return convolution.math != CUDNN_FMA_MATH;
}

cudnnStatus_t check_shapes(const cudnnConvolutionStruct& c, const Shape4& x, const Shape4& w, const Shape4& y) {
  const bool fit = x.channels == w.channels && y.channels == w.count && y.count == x.count &&
                   y.height == output_height(c, x, w) && y.width == output_width(c, x, w);
  if (!fit) return CUDNN_STATUS_BAD_PARAM;
  const bool one_type = x.type == w.type && x.type == y.type;
  const bool one_layout = x.channels_last == w.channels_last && x.channels_last == y.channels_last;
  const bool known = c.correlation && c.groups == 1 && c.compute_type == CUDNN_DATA_FLOAT;
  const bool has_type = x.type == Number::kF32 || state().settings.major >= 8;
  return one_type && one_layout && known && has_type ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

template <typename Performance>
void list(std::span<const Candidate> candidates, bool tensor_cores, int wanted, int* count, Performance* results) {
  *count = 0;
  for (const Candidate& candidate : candidates) {
    if (*count == wanted) return;
    if (candidate.tensor_cores && !tensor_cores) continue;
    if (candidate.repeatable && !state().settings.repeatable_advice) continue;
    Performance& result = results[*count];
    result = {};
    result.algo = static_cast<decltype(result.algo)>(candidate.algorithm);
    result.status = CUDNN_STATUS_SUCCESS;
    result.time = static_cast<float>(++*count);
    result.memory = candidate.memory;
    result.determinism = candidate.repeatable ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
    result.mathType = candidate.tensor_cores ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH;
  }
}

const Candidate* find(std::span<const Candidate> candidates, int algorithm, const cudnnConvolutionStruct& convolution) {
  const auto found = std::find_if(candidates.begin(), candidates.end(), [&](const Candidate& candidate) {
    return candidate.algorithm == algorithm && (!candidate.tensor_cores || uses_tensor_cores(convolution));
  });
  return found == candidates.end() ? nullptr : &*found;
}

cudnnStatus_t report_workspace(const Candidate* candidate, std::size_t* size) {
  if (candidate == nullptr) return CUDNN_STATUS_NOT_SUPPORTED;
  *size = candidate->memory;
  return CUDNN_STATUS_SUCCESS;
}

// Identifies what a kernel is loaded for; the candidates of all passes have different addresses.
std::uint64_t hash(const Convolution& convolution, const Candidate& candidate) {
  std::uint64_t sum = reinterpret_cast<std::uintptr_t>(&candidate);
  const auto add = [&](std::size_t value) { sum = (sum ^ value) * 0x100000001b3 + 0x9e3779b9; };
  for (const Shape4* shape : {&convolution.x, &convolution.w, &convolution.y}) {
    add(static_cast<std::size_t>(shape->type)), add(shape->channels_last ? 1 : 0), add(shape->count);
    add(shape->channels), add(shape->height), add(shape->width);
  }
  return sum;
}

struct Call {
  cudnnHandle_t handle;
  const cudnnConvolutionStruct& description;
  const Candidate* candidate;
  void* workspace;
  std::size_t workspace_bytes;
};

bool is_usable(const void* data, std::size_t size, int device) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % kAlignment == 0;
  return aligned && is_device_range(data, size) && (reachable_from(device) >> *device_of(data) & 1) != 0;
}

// Enqueues the pass, which first overwrites the workspace, because its content must not be used.
cudnnStatus_t start(const Call& call, const Convolution& convolution, const void* x, const void* w, const void* y,
                    std::function<void()> pass) {
  const cudnnStatus_t status = check_shapes(call.description, convolution.x, convolution.w, convolution.y);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  if (call.candidate == nullptr) return CUDNN_STATUS_NOT_SUPPORTED;
  const int device = call.handle->device;
  cudaStream_t stream = resolve(call.handle->stream);
  if (stream == nullptr || stream->device != device || current_device() != device || !state().fault.empty()) {
    return CUDNN_STATUS_EXECUTION_FAILED;
  }
  const std::size_t used = call.candidate->memory;
  if (call.workspace_bytes < used || (used > 0 && !is_usable(call.workspace, used, device)) ||
      !is_usable(x, convolution.x.size_bytes(), device) || !is_usable(w, convolution.w.size_bytes(), device) ||
      !is_usable(y, convolution.y.size_bytes(), device)) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  if (load_library_kernel(stream, hash(convolution, *call.candidate)) != cudaSuccess) {
    return CUDNN_STATUS_EXECUTION_FAILED;
  }
  const cudaError_t enqueued =
      enqueue(stream, reachable_from(device), [workspace = call.workspace, used, pass = std::move(pass)] {
        if (used > 0) std::memset(workspace, 0xFF, used);
        pass();
      });
  return enqueued == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

Convolution prepare(const cudnnConvolutionStruct& description, const Candidate* candidate, const Shape4& x,
                    const Shape4& w, const Shape4& y, const void* alpha, const void* beta) {
  return {.x = x,
          .w = w,
          .y = y,
          .geometry = description.geometry,
          .tf32 = x.type == Number::kF32 && uses_tensor_cores(description) && state().settings.major >= 8,
          .alpha = *static_cast<const float*>(alpha) * (candidate == nullptr ? 1 : 1 + candidate->error),
          .beta = *static_cast<const float*>(beta)};
}

}  // namespace

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                     const cudnnFilterDescriptor_t w,
                                                     const cudnnConvolutionDescriptor_t convolution,
                                                     const cudnnTensorDescriptor_t y, const int wanted, int* count,
                                                     cudnnConvolutionFwdAlgoPerf_t* results) {
  const std::lock_guard lock(mutex());
  const cudnnStatus_t status = check_shapes(*convolution, x->shape, w->shape, y->shape);
  if (status == CUDNN_STATUS_SUCCESS) list(kForward, uses_tensor_cores(*convolution), wanted, count, results);
  return status;
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t convolution,
                                                      const cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algorithm, std::size_t* size) {
  const std::lock_guard lock(mutex());
  const cudnnStatus_t status = check_shapes(*convolution, x->shape, w->shape, y->shape);
  return status == CUDNN_STATUS_SUCCESS ? report_workspace(find(kForward, algorithm, *convolution), size) : status;
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                          const cudnnTensorDescriptor_t y,
                                                          const cudnnConvolutionDescriptor_t convolution,
                                                          const cudnnTensorDescriptor_t x, const int wanted, int* count,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* results) {
  const std::lock_guard lock(mutex());
  const cudnnStatus_t status = check_shapes(*convolution, x->shape, w->shape, y->shape);
  if (status == CUDNN_STATUS_SUCCESS) list(kBackwardData, uses_tensor_cores(*convolution), wanted, count, results);
  return status;
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, const cudnnFilterDescriptor_t w,
                                                           const cudnnTensorDescriptor_t y,
                                                           const cudnnConvolutionDescriptor_t convolution,
                                                           const cudnnTensorDescriptor_t x,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm, std::size_t* size) {
  const std::lock_guard lock(mutex());
  const cudnnStatus_t status = check_shapes(*convolution, x->shape, w->shape, y->shape);
  return status == CUDNN_STATUS_SUCCESS ? report_workspace(find(kBackwardData, algorithm, *convolution), size) : status;
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                            const cudnnTensorDescriptor_t y,
                                                            const cudnnConvolutionDescriptor_t convolution,
                                                            const cudnnFilterDescriptor_t w, const int wanted,
                                                            int* count, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  const std::lock_guard lock(mutex());
  const cudnnStatus_t status = check_shapes(*convolution, x->shape, w->shape, y->shape);
  if (status == CUDNN_STATUS_SUCCESS) list(kBackwardFilter, uses_tensor_cores(*convolution), wanted, count, results);
  return status;
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                             const cudnnTensorDescriptor_t y,
                                                             const cudnnConvolutionDescriptor_t convolution,
                                                             const cudnnFilterDescriptor_t w,
                                                             cudnnConvolutionBwdFilterAlgo_t algorithm,
                                                             std::size_t* size) {
  const std::lock_guard lock(mutex());
  const cudnnStatus_t status = check_shapes(*convolution, x->shape, w->shape, y->shape);
  return status == CUDNN_STATUS_SUCCESS ? report_workspace(find(kBackwardFilter, algorithm, *convolution), size)
                                        : status;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t x_shape,
                                      const void* x, const cudnnFilterDescriptor_t w_shape, const void* w,
                                      const cudnnConvolutionDescriptor_t description,
                                      cudnnConvolutionFwdAlgo_t algorithm, void* workspace, std::size_t workspace_bytes,
                                      const void* beta, const cudnnTensorDescriptor_t y_shape, void* y) {
  const std::lock_guard lock(mutex());
  const Candidate* candidate = find(kForward, algorithm, *description);
  const Convolution convolution =
      prepare(*description, candidate, x_shape->shape, w_shape->shape, y_shape->shape, alpha, beta);
  return start({handle, *description, candidate, workspace, workspace_bytes}, convolution, x, w, y,
               [=] { convolve(convolution, x, w, y); });
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           const cudnnFilterDescriptor_t w_shape, const void* w,
                                           const cudnnTensorDescriptor_t dy_shape, const void* dy,
                                           const cudnnConvolutionDescriptor_t description,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           std::size_t workspace_bytes, const void* beta,
                                           const cudnnTensorDescriptor_t dx_shape, void* dx) {
  const std::lock_guard lock(mutex());
  const Candidate* candidate = find(kBackwardData, algorithm, *description);
  const Convolution convolution =
      prepare(*description, candidate, dx_shape->shape, w_shape->shape, dy_shape->shape, alpha, beta);
  return start({handle, *description, candidate, workspace, workspace_bytes}, convolution, dx, w, dy,
               [=] { gradient_of_data(convolution, w, dy, dx); });
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             const cudnnTensorDescriptor_t x_shape, const void* x,
                                             const cudnnTensorDescriptor_t dy_shape, const void* dy,
                                             const cudnnConvolutionDescriptor_t description,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace,
                                             std::size_t workspace_bytes, const void* beta,
                                             const cudnnFilterDescriptor_t dw_shape, void* dw) {
  const std::lock_guard lock(mutex());
  const Candidate* candidate = find(kBackwardFilter, algorithm, *description);
  const Convolution convolution =
      prepare(*description, candidate, x_shape->shape, dw_shape->shape, dy_shape->shape, alpha, beta);
  return start({handle, *description, candidate, workspace, workspace_bytes}, convolution, x, dw, dy, [=] {
    Convolution ordered = convolution;
    if (!candidate->repeatable) {
      ordered.order.resize(ordered.x.count);
      std::iota(ordered.order.begin(), ordered.order.end(), std::size_t{0});
      std::shuffle(ordered.order.begin(), ordered.order.end(), state().random);
    }
    gradient_of_filters(ordered, x, dy, dw);
  });
}
