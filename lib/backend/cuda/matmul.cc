#include "lib/backend/cuda/matmul.h"

#include <bit>
#include <cassert>

#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

cudaDataType_t blas_type(NumberType type) {
  return type == NumberType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

// cuBLASLt is column-major, so it sees a row-major matrix as its transpose.
auto make_layout(const Matrix& matrix) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, blas_type(matrix.type), static_cast<std::uint64_t>(matrix.columns),
                                   static_cast<std::uint64_t>(matrix.rows), matrix.columns),
        "describe a matrix");
  return Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>(layout);
}

template <typename T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof(value)), "describe a matrix product");
}

template <typename T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
        "describe a matrix product's limits");
}

// According to its header, cuBLASLt infers the bias's alignment from its address. But some kernels load this many bytes
// of it at once whatever its address is, and unlike for A to D, there is no preference to exclude them.
constexpr std::uint32_t kBiasAlignment = 16;

// The largest power of two, at most 256, that divides the address. A variable may be anywhere in the parameter block.
std::uint32_t alignment_of(const void* address) {
  constexpr std::uintptr_t kMost = 256;
  return static_cast<std::uint32_t>(std::uintptr_t{1}
                                    << std::countr_zero(reinterpret_cast<std::uintptr_t>(address) | kMost));
}

bool can_fuse(const Product& product) {
  return product.bias == nullptr || alignment_of(product.bias) >= kBiasAlignment;
}

cublasLtEpilogue_t epilogue_of(const Product& product) {
  if (product.bias == nullptr) return product.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
  return product.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
}

}  // namespace

Matmul::Matmul(cublasLtHandle_t handle, const Product& product)
    : handle_(handle),
      product_(product),
      // D^T = B^T A^T: the right factor of the row-major product comes first.
      a_(make_layout(product.right)),
      b_(make_layout(product.left)),
      d_(make_layout(product.result)) {
  assert(product.left.type == product.right.type);
  cublasLtMatmulDesc_t operation = nullptr;
  const cublasComputeType_t compute = product.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check(cublasLtMatmulDescCreate(&operation, compute, CUDA_R_32F), "describe a matrix product");
  operation_.reset(operation);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, product.transpose_right ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, product.transpose_left ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (can_fuse(product)) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(product));
    if (product.bias != nullptr) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias);
    if (choose(handle)) return;
  }
  fused_ = false;
  set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
  if (!choose(handle)) {
    fail(ExitCode::kInternal, "cuBLASLt has no kernel for the product of {} x {} and {} x {} numbers",
         product.left.rows, product.left.columns, product.right.rows, product.right.columns);
  }
}

// Whether there is a kernel for operation_; if so, it is in algorithm_.
bool Matmul::choose(cublasLtHandle_t handle) {
  cublasLtMatmulPreference_t raw = nullptr;
  check(cublasLtMatmulPreferenceCreate(&raw), "describe a matrix product's limits");
  const Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference(raw);
  set(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMatmulWorkspaceBytes);
  // Partial sums of several processors stay float32, like the sum of a single one.
  set(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(product_.right.data));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(product_.left.data));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(product_.result.data));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(product_.result.data));
  cublasLtMatmulHeuristicResult_t found{};
  int num_found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, operation_.get(), a_.get(), b_.get(), d_.get(),
                                                               d_.get(), raw, 1, &found, &num_found);
  // For a fused bias and ReLU that cuBLASLt lacks for these types, it may report an invalid value instead of "not
  // supported".
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (fused_ && status == CUBLAS_STATUS_INVALID_VALUE)) return false;
  check(status, "choose a kernel for a matrix product");
  if (num_found == 0 || found.state != CUBLAS_STATUS_SUCCESS) return false;
  algorithm_ = found.algo;
  return true;
}

void Matmul::run(cudaStream_t stream, void* workspace) const {
  constexpr float kOne = 1, kZero = 0;
  check(cublasLtMatmul(handle_, operation_.get(), &kOne, product_.right.data, a_.get(), product_.left.data, b_.get(),
                       &kZero, product_.result.data, d_.get(), product_.result.data, d_.get(), &algorithm_, workspace,
                       kMatmulWorkspaceBytes, stream),
        "start a matrix product");
}

}  // namespace distmnist::cuda
