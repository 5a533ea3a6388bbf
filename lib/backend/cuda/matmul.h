// Matmul: a matrix product with cuBLASLt, prepared once for its operands and run many times.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/backend/cuda/handles.h"
#include "lib/backend/cuda/tensor_view.h"

namespace distmnist::cuda {

// A row-major matrix on a device: [rows, columns], dense.
struct Matrix {
  void* data = nullptr;
  NumberType type = NumberType::kF32;
  std::int64_t rows = 0, columns = 0;
};

// result = act(op(left) op(right) + bias), row-major, op = transposition or identity; sums in float32.
struct Product {
  Matrix left, right, result;  // left and right have the same type
  bool transpose_left = false, transpose_right = false;
  bool tf32 = false;           // float32 factors may be rounded to TF32
  const void* bias = nullptr;  // [result.columns], of the result's type; null if there is none
  bool relu = false;
};

// Workspace shared by the products of one stream. cuBLASLt uses it to split sums if a product has few results.
inline constexpr std::size_t kMatmulWorkspaceBytes = 8 << 20;

class Matmul {
 public:
  // Chooses the fastest kernel by cuBLASLt's heuristics. `handle` must outlive this object. If cuBLASLt has no kernel
  // that includes bias and ReLU, fused() is false and the caller must apply them. Error (kInternal) if it has no kernel
  // at all.
  Matmul(cublasLtHandle_t handle, const Product& product);

  // `workspace`: kMatmulWorkspaceBytes of device memory.
  void run(cudaStream_t stream, void* workspace) const;
  bool fused() const { return fused_; }

 private:
  bool choose(cublasLtHandle_t handle);

  cublasLtHandle_t handle_;
  Product product_;
  bool fused_ = true;
  Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation_;
  Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> a_, b_, d_;
  cublasLtMatmulAlgo_t algorithm_{};
};

}  // namespace distmnist::cuda
