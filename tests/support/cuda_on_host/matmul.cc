// cuBLASLt's matrix products: D = act(alpha op(A) op(B) + beta C + bias).
#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/support/cuda_on_host/blas_objects.h"
#include "tests/support/cuda_on_host/numbers.h"
#include "tests/support/cuda_on_host/state.h"

namespace cuda_on_host {
namespace {

constexpr std::uint64_t kMagic = 0x6c746d61746d756c;
constexpr std::uint64_t kWorkspaceBytes = 1 << 20;
// cuBLASLt can use the bias's address to choose an algorithm, but unlike for A to D there is no preference for its
// alignment, and some kernels load 16 bytes of a bias at once whatever its address.
constexpr std::uint32_t kBiasAlignment = 16;

struct Problem {
  MatmulOperation operation;
  MatrixLayout a, b, c, d;
};

Number number(cudaDataType type) {
  return type == CUDA_R_32F ? Number::kF32 : Number::kBf16;
}

bool is_known(cudaDataType type) {
  return type == CUDA_R_32F || type == CUDA_R_16BF;
}

cudaDataType bias_type(const Problem& problem) {
  const std::int32_t type = problem.operation.bias_type;
  return type < 0 ? problem.d.type : static_cast<cudaDataType>(type);
}

bool has_bias(const Problem& problem) {
  return (problem.operation.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
}

bool layout_holds(const MatrixLayout& layout) {
  const bool by_columns = layout.order == CUBLASLT_ORDER_COL;
  if (layout.rows == 0 || layout.columns == 0) return false;
  return layout.leading >= static_cast<std::int64_t>(by_columns ? layout.rows : layout.columns);
}

bool shapes_fit(const Problem& problem) {
  const bool ta = problem.operation.transpose_a != CUBLAS_OP_N, tb = problem.operation.transpose_b != CUBLAS_OP_N;
  const std::uint64_t m = ta ? problem.a.columns : problem.a.rows, k = ta ? problem.a.rows : problem.a.columns;
  const std::uint64_t n = tb ? problem.b.rows : problem.b.columns, depth = tb ? problem.b.columns : problem.b.rows;
  const auto is_result = [&](const MatrixLayout& layout) { return layout.rows == m && layout.columns == n; };
  return k == depth && is_result(problem.c) && is_result(problem.d);
}

bool types_fit(const Problem& problem) {
  const MatmulOperation& operation = problem.operation;
  for (const MatrixLayout* layout : {&problem.a, &problem.b, &problem.c, &problem.d}) {
    if (!is_known(layout->type)) return false;
    if (layout->order != CUBLASLT_ORDER_COL && layout->order != CUBLASLT_ORDER_ROW) return false;
  }
  if (problem.a.type != problem.b.type || problem.c.type != problem.d.type) return false;
  if (operation.scale_type != CUDA_R_32F) return false;
  if (problem.a.type == CUDA_R_32F) {
    const bool known = operation.compute == CUBLAS_COMPUTE_32F || operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    return known && problem.d.type == CUDA_R_32F;
  }
  return operation.compute == CUBLAS_COMPUTE_32F && state().settings.major >= 8;
}

// The bias is a column: cuBLASLt has no kernels that add it to row-major results.
bool epilogue_fits(const Problem& problem) {
  const std::uint32_t epilogue = problem.operation.epilogue;
  constexpr std::uint32_t kKnown = CUBLASLT_EPILOGUE_DEFAULT | CUBLASLT_EPILOGUE_RELU | CUBLASLT_EPILOGUE_BIAS;
  if (epilogue == 0 || (epilogue & ~kKnown) != 0) return false;
  if (epilogue == CUBLASLT_EPILOGUE_DEFAULT) return true;
  if (!state().settings.fused_epilogues) return false;
  if (!has_bias(problem)) return true;
  const bool type_fits = bias_type(problem) == problem.d.type || bias_type(problem) == CUDA_R_32F;
  return problem.d.order == CUBLASLT_ORDER_COL && is_known(bias_type(problem)) && type_fits;
}

cublasStatus_t check(const Problem& problem) {
  for (const MatrixLayout* layout : {&problem.a, &problem.b, &problem.c, &problem.d}) {
    if (!layout_holds(*layout)) return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!shapes_fit(problem)) return CUBLAS_STATUS_INVALID_VALUE;
  return types_fit(problem) && epilogue_fits(problem) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

// Identifies all that the choice of an algorithm depends on.
std::uint64_t hash(const Problem& problem) {
  std::uint64_t sum = 0;
  const auto add = [&](auto value) { sum = (sum ^ static_cast<std::uint64_t>(value)) * 0x100000001b3 + 0x9e3779b9; };
  const MatmulOperation& operation = problem.operation;
  add(operation.compute), add(operation.transpose_a), add(operation.transpose_b), add(operation.epilogue);
  for (const MatrixLayout* layout : {&problem.a, &problem.b, &problem.c, &problem.d}) {
    add(layout->type), add(layout->rows), add(layout->columns), add(layout->leading), add(layout->order);
  }
  return sum;
}

std::size_t index_of(const MatrixLayout& layout, std::size_t row, std::size_t column) {
  const auto leading = static_cast<std::size_t>(layout.leading);
  return layout.order == CUBLASLT_ORDER_COL ? column * leading + row : row * leading + column;
}

std::size_t size_bytes(const MatrixLayout& layout) {
  return (index_of(layout, layout.rows - 1, layout.columns - 1) + 1) * size_of(number(layout.type));
}

// op(matrix) as floats, row-major.
std::vector<float> unpack(const void* data, const MatrixLayout& layout, bool transpose, bool tf32) {
  const std::size_t rows = transpose ? layout.columns : layout.rows;
  const std::size_t columns = transpose ? layout.rows : layout.columns;
  std::vector<float> values(rows * columns);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      const std::size_t index = transpose ? index_of(layout, j, i) : index_of(layout, i, j);
      const float value = load(data, number(layout.type), index);
      values[i * columns + j] = tf32 ? to_tf32(value) : value;
    }
  }
  return values;
}

struct Operands {
  const void* a;
  const void* b;
  const void* c;
  void* d;
  float alpha, beta;
};

// The sum as the total of five parts that are added in the result's type.
float rounded_in_parts(float sum, cudaDataType type) {
  float stored = 0;
  for (int part = 1; part <= 5; ++part) {
    const float before = part == 1 ? 0 : load(&stored, number(type), 0);
    store(&stored, number(type), 0, before + sum / 5);
  }
  return load(&stored, number(type), 0);
}

void run(const Problem& problem, const Operands& operands, bool rounds_parts) {
  const bool tf32 = problem.operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && state().settings.major >= 8;
  const bool transpose_a = problem.operation.transpose_a != CUBLAS_OP_N;
  const std::vector<float> left = unpack(operands.a, problem.a, transpose_a, tf32);
  const std::vector<float> right = unpack(operands.b, problem.b, problem.operation.transpose_b != CUBLAS_OP_N, tf32);
  const ProductSize size{
      .rows = problem.d.rows, .columns = problem.d.columns, .depth = transpose_a ? problem.a.rows : problem.a.columns};
  std::vector<float> product(size.rows * size.columns);
  multiply_add(size, left.data(), right.data(), product.data());
  if (rounds_parts && problem.d.type == CUDA_R_16BF) {
    for (float& sum : product) sum = rounded_in_parts(sum, problem.d.type);
  }

  const bool relu = (problem.operation.epilogue & CUBLASLT_EPILOGUE_RELU) != 0;
  for (std::size_t i = 0; i < size.rows; ++i) {
    const float bias = has_bias(problem) ? load(problem.operation.bias, number(bias_type(problem)), i) : 0.0F;
    for (std::size_t j = 0; j < size.columns; ++j) {
      float value = operands.alpha * product[i * size.columns + j] + bias;
      if (operands.beta != 0) {
        value += operands.beta * load(operands.c, number(problem.c.type), index_of(problem.c, i, j));
      }
      if (relu && !(value > 0)) value = value == value ? 0.0F : value;
      store(operands.d, number(problem.d.type), index_of(problem.d, i, j), value);
    }
  }
}

bool is_aligned(const void* data, std::uint32_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

bool in_reach(const void* data, std::size_t size, int device) {
  return is_device_range(data, size) && (reachable_from(device) >> *device_of(data) & 1) != 0;
}

bool operands_fit(const Problem& problem, const Operands& operands, const MatmulAlgorithm& algorithm, int device) {
  const auto fits = [&](const void* data, const MatrixLayout& layout, std::size_t position) {
    return in_reach(data, size_bytes(layout), device) && is_aligned(data, algorithm.alignments[position]);
  };
  if (!fits(operands.a, problem.a, 0) || !fits(operands.b, problem.b, 1) || !fits(operands.d, problem.d, 3)) {
    return false;
  }
  if (operands.beta != 0 && !fits(operands.c, problem.c, 2)) return false;
  const std::size_t bias_bytes = problem.d.rows * size_of(number(bias_type(problem)));
  return !has_bias(problem) ||
         (in_reach(problem.operation.bias, bias_bytes, device) && is_aligned(problem.operation.bias, kBiasAlignment));
}

template <typename Object, typename Handle>
const Object& object(Handle handle) {
  return *reinterpret_cast<const Object*>(handle);
}

}  // namespace
}  // namespace cuda_on_host

using namespace cuda_on_host;

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  const std::lock_guard lock(mutex());
  *found = 0;
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem{object<MatmulOperation>(operation), object<MatrixLayout>(a), object<MatrixLayout>(b),
                        object<MatrixLayout>(c), object<MatrixLayout>(d)};
  if (const cublasStatus_t status = check(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  const auto& limits = object<MatmulPreference>(preference);
  const MatmulAlgorithm algorithm{.magic = kMagic,
                                  .product = hash(problem),
                                  .workspace_bytes = std::min(limits.max_workspace_bytes, kWorkspaceBytes),
                                  .alignments = limits.alignments,
                                  .rounds_parts = (limits.reductions & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE) != 0};
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof(algorithm));
  results[0].workspaceSize = algorithm.workspace_bytes;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* chosen, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t given) {
  const std::lock_guard lock(mutex());
  if (!state().fault.empty()) return CUBLAS_STATUS_EXECUTION_FAILED;
  const Problem problem{object<MatmulOperation>(operation), object<MatrixLayout>(a_layout),
                        object<MatrixLayout>(b_layout), object<MatrixLayout>(c_layout), object<MatrixLayout>(d_layout)};
  if (const cublasStatus_t status = check(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  const int device = object<BlasContext>(handle).device;
  cudaStream_t stream = resolve(given);
  if (stream == nullptr || stream->device != device || current_device() != device) return CUBLAS_STATUS_INVALID_VALUE;

  // Without an algorithm cuBLASLt chooses one itself, which may need no workspace and no alignment.
  MatmulAlgorithm algorithm{.magic = kMagic, .product = hash(problem), .alignments = {4, 4, 4, 4}};
  if (chosen != nullptr) std::memcpy(static_cast<void*>(&algorithm), chosen, sizeof(algorithm));
  if (algorithm.magic != kMagic || algorithm.product != hash(problem)) return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes < algorithm.workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  const std::size_t used = algorithm.workspace_bytes;
  if (used > 0 && !in_reach(workspace, used, device)) return CUBLAS_STATUS_INVALID_VALUE;
  const Operands operands{a, b, c, d, *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
  if (!operands_fit(problem, operands, algorithm, device)) return CUBLAS_STATUS_INVALID_VALUE;

  if (load_library_kernel(stream, algorithm.product) != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  const cudaError_t status = enqueue(stream, reachable_from(device), [=] {
    if (used > 0) std::memset(workspace, 0xFF, used);
    run(problem, operands, algorithm.rounds_parts);
  });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
