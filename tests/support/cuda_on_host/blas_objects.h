// The objects behind cuBLASLt's opaque handles in the stand-in.
#pragma once

#include <array>
#include <cstdint>

#include <cublasLt.h>

namespace cuda_on_host {

struct BlasContext {
  int device = 0;
};

struct MatrixLayout {
  cudaDataType type = CUDA_R_32F;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t leading = 0;
  std::int32_t order = CUBLASLT_ORDER_COL;
};

struct MatmulOperation {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale_type = CUDA_R_32F;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  std::int32_t bias_type = -1;  // the type of the bias; -1 is the type of D
};

struct MatmulPreference {
  std::uint64_t max_workspace_bytes = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;       // how partial sums may be added
  std::array<std::uint32_t, 4> alignments = {256, 256, 256, 256};  // of A, B, C, D, in bytes
};

// The content of cublasLtMatmulAlgo_t: the product that it was chosen for.
struct MatmulAlgorithm {
  std::uint64_t magic = 0;
  std::uint64_t product = 0;  // hash
  std::uint64_t workspace_bytes = 0;
  std::array<std::uint32_t, 4> alignments = {};
  bool rounds_parts = false;  // rounds partial sums to the result's type
};
static_assert(sizeof(MatmulAlgorithm) <= sizeof(cublasLtMatmulAlgo_t));

}  // namespace cuda_on_host
