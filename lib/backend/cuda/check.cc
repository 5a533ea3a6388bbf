#include "lib/backend/cuda/check.h"

#include "lib/base/error.h"

namespace distmnist::cuda {

void check(cudaError_t status, std::string_view tried) {
  if (status == cudaSuccess) return;
  const ExitCode code = status == cudaErrorMemoryAllocation ? ExitCode::kResources : ExitCode::kInternal;
  fail(code, "GPU: cannot {}: {} ({})", tried, cudaGetErrorString(status), cudaGetErrorName(status));
}

void check(cublasStatus_t status, std::string_view tried) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const ExitCode code = status == CUBLAS_STATUS_ALLOC_FAILED ? ExitCode::kResources : ExitCode::kInternal;
  fail(code, "GPU: cannot {}: cuBLASLt says {} ({})", tried, cublasLtGetStatusString(status),
       cublasLtGetStatusName(status));
}

void check(cudnnStatus_t status, std::string_view tried) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const bool memory =
      status == CUDNN_STATUS_ALLOC_FAILED || status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  fail(memory ? ExitCode::kResources : ExitCode::kInternal, "GPU: cannot {}: cuDNN says {}", tried,
       cudnnGetErrorString(status));
}

}  // namespace distmnist::cuda
