// Tests the stand-in for CUDA: compares cuBLASLt's matrix products with plain loops.
#include <cmath>
#include <cstdint>
#include <vector>

#include <fmt/core.h>

#include "lib/backend/cuda/check.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/device_array.h"
#include "tests/support/cuda_on_host/numbers.h"

using namespace distmnist;
using namespace distmnist::cuda;
using cuda_on_host::DeviceArray;
using cuda_on_host::Number;

namespace {

constexpr std::size_t kWorkspaceBytes = 4 << 20;

cudaDataType data_type(Number type) {
  return type == Number::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

// A matrix of random numbers in device memory, with the same numbers as doubles.
struct Matrix {
  Matrix(std::size_t rows, std::size_t columns, Number number, cublasLtOrder_t stored, std::size_t more, Random& random)
      : height(rows),
        width(columns),
        leading((stored == CUBLASLT_ORDER_COL ? rows : columns) + more),
        type(number),
        order(stored),
        bytes(leading * (stored == CUBLASLT_ORDER_COL ? columns : rows) * size_of(number)) {
    std::vector<std::byte> host(bytes.size());
    for (std::size_t i = 0; i < host.size() / size_of(type); ++i) {
      cuda_on_host::store(host.data(), type, i, static_cast<float>(random.uniform() * 2 - 1));
    }
    check(cudaMemcpy(bytes.data(), host.data(), host.size(), cudaMemcpyHostToDevice), "copy");
    values = fetch();
    check(cublasLtMatrixLayoutCreate(&layout, data_type(type), rows, columns, static_cast<std::int64_t>(leading)),
          "describe");
    const auto stored_order = static_cast<std::int32_t>(order);
    check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_ORDER, &stored_order, sizeof(stored_order)),
          "describe");
  }
  Matrix(const Matrix&) = delete;
  ~Matrix() { cublasLtMatrixLayoutDestroy(layout); }

  // Row-major, without the gaps between rows or columns.
  std::vector<double> fetch() const {
    const std::vector<std::byte> host = bytes.fetch();
    std::vector<double> result(height * width);
    for (std::size_t i = 0; i < height; ++i) {
      for (std::size_t j = 0; j < width; ++j) {
        const std::size_t index = order == CUBLASLT_ORDER_COL ? j * leading + i : i * leading + j;
        result[i * width + j] = cuda_on_host::load(host.data(), type, index);
      }
    }
    return result;
  }
  double at(std::size_t i, std::size_t j) const { return values[i * width + j]; }

  std::size_t height, width, leading;
  Number type;
  cublasLtOrder_t order;
  DeviceArray<std::byte> bytes;
  std::vector<double> values;
  cublasLtMatrixLayout_t layout = nullptr;
};

struct Options {
  bool transpose_a = false, transpose_b = false;
  cublasLtOrder_t order_a = CUBLASLT_ORDER_COL, order_b = CUBLASLT_ORDER_COL, order_d = CUBLASLT_ORDER_COL;
  Number factors = Number::kF32, result = Number::kF32;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  float alpha = 1, beta = 0;
};

// A product of 7 x 5 and 5 x 9 numbers, in device memory and in plain loops.
class Product {
 public:
  explicit Product(const Options& options)
      : options_(options),
        a_(options.transpose_a ? 5 : 7, options.transpose_a ? 7 : 5, options.factors, options.order_a, 2, random_),
        b_(options.transpose_b ? 9 : 5, options.transpose_b ? 5 : 9, options.factors, options.order_b, 1, random_),
        d_(7, 9, options.result, options.order_d, 3, random_),
        bias_(11, 1, options.result, CUBLASLT_ORDER_COL, 0, random_),
        workspace_(kWorkspaceBytes) {
    check(cublasLtCreate(&handle_), "start");
    check(cublasLtMatmulDescCreate(&operation_, options.compute, CUDA_R_32F), "describe");
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(options.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(options.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(options.epilogue));
    set_bias(0);
  }
  ~Product() {
    cublasLtMatmulDescDestroy(operation_);
    cublasLtDestroy(handle_);
  }
  Product(const Product&) = delete;

  cublasStatus_t choose(std::uint32_t alignment = 16,
                        std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "describe");
    const std::uint64_t most = kWorkspaceBytes;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof(most));
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                         sizeof(reductions));
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof(alignment));
    }
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, operation_, a_.layout, b_.layout, d_.layout,
                                                                 d_.layout, preference, 1, &chosen_, &count);
    CHECK(count == (status == CUBLAS_STATUS_SUCCESS ? 1 : 0));
    cublasLtMatmulPreferenceDestroy(preference);
    return status;
  }
  cublasStatus_t run(std::size_t workspace_bytes = kWorkspaceBytes, std::size_t a_offset = 0,
                     cudaStream_t stream = nullptr) {
    return cublasLtMatmul(handle_, operation_, &options_.alpha, a_.bytes.data() + a_offset, a_.layout, b_.bytes.data(),
                          b_.layout, &options_.beta, d_.bytes.data(), d_.layout, d_.bytes.data(), d_.layout,
                          &chosen_.algo, workspace_.data(), workspace_bytes, stream);
  }
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof(value)), "describe");
  }

  // `offset` in bytes.
  void set_bias(std::size_t offset) {
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias_.bytes.data() + offset));
  }

  // The largest difference from plain loops over the numbers before the product.
  double error() const {
    const std::vector<double> got = d_.fetch();
    double largest = 0;
    for (std::size_t i = 0; i < 7; ++i) {
      for (std::size_t j = 0; j < 9; ++j) {
        const double difference = std::abs(got[i * 9 + j] - expected(i, j));
        largest = difference == difference ? std::max(largest, difference) : INFINITY;
      }
    }
    return largest;
  }

 private:
  double expected(std::size_t i, std::size_t j) const {
    double sum = 0;
    for (std::size_t k = 0; k < 5; ++k) {
      sum += (options_.transpose_a ? a_.at(k, i) : a_.at(i, k)) * (options_.transpose_b ? b_.at(j, k) : b_.at(k, j));
    }
    double value = options_.alpha * sum + options_.beta * d_.at(i, j);
    if ((options_.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) value += bias_.at(i, 0);
    return (options_.epilogue & CUBLASLT_EPILOGUE_RELU) != 0 ? std::max(value, 0.0) : value;
  }

  Options options_;
  Random random_{7, 0};
  Matrix a_, b_, d_, bias_;
  DeviceArray<std::byte> workspace_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatmulHeuristicResult_t chosen_{};
};

double error_of_product(const Options& options) {
  cuda_on_host::reset({});
  Product product(options);
  check(product.choose(), "choose");
  check(product.run(), "start");
  return product.error();
}

}  // namespace

TEST_CASE("products of transposed matrices in either order match plain loops") {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const auto order_a : {CUBLASLT_ORDER_COL, CUBLASLT_ORDER_ROW}) {
        for (const auto order_d : {CUBLASLT_ORDER_COL, CUBLASLT_ORDER_ROW}) {
          CAPTURE(ta, tb, order_a, order_d);
          CHECK(
              error_of_product(
                  {.transpose_a = ta, .transpose_b = tb, .order_a = order_a, .order_b = order_a, .order_d = order_d}) <
              1e-6);
        }
      }
    }
  }
}

TEST_CASE("products are scaled, added to the old result, biased and clipped") {
  CHECK(error_of_product({.alpha = 2.5F, .beta = -0.5F}) < 1e-6);
  CHECK(error_of_product({.epilogue = CUBLASLT_EPILOGUE_RELU}) < 1e-6);
  CHECK(error_of_product({.epilogue = CUBLASLT_EPILOGUE_BIAS}) < 1e-6);
  CHECK(error_of_product({.epilogue = CUBLASLT_EPILOGUE_RELU_BIAS, .alpha = 2, .beta = 1}) < 1e-6);
}

TEST_CASE("bfloat16 factors give float32 sums that are rounded once") {
  CHECK(error_of_product({.factors = Number::kBf16, .result = Number::kF32}) < 1e-6);
  const double rounded = error_of_product({.factors = Number::kBf16, .result = Number::kBf16});
  CHECK(rounded > 1e-5);
  CHECK(rounded < 1.0 / 64);
  CHECK(error_of_product({.factors = Number::kBf16, .result = Number::kBf16, .epilogue = CUBLASLT_EPILOGUE_RELU_BIAS}) <
        1.0 / 64);
}

TEST_CASE("partial sums are rounded to the result's type if that is allowed") {
  const auto error = [](cublasLtReductionScheme_t reductions) {
    cuda_on_host::reset({});
    Product product({.factors = Number::kBf16, .result = Number::kBf16});
    check(product.choose(16, reductions), "choose");
    check(product.run(), "start");
    return product.error();
  };
  CHECK(error(CUBLASLT_REDUCTION_SCHEME_MASK) > 1.2 * error(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
}

TEST_CASE("TF32 rounds the factors to 10 bits") {
  const double error = error_of_product({.compute = CUBLAS_COMPUTE_32F_FAST_TF32});
  CHECK(error > 1e-5);
  CHECK(error < 5.0 / 1024);
  CHECK(cuda_on_host::to_tf32(1.0F + 1.0F / 2048) == 1.0F + 1.0F / 1024);
  CHECK(cuda_on_host::to_tf32(-1.0F - 1.0F / 4096) == -1.0F);
}

TEST_CASE("combinations that cuBLASLt has no kernel for are refused") {
  const auto choice = [](const Options& options, const cuda_on_host::Settings& settings = {}) {
    cuda_on_host::reset(settings);
    return Product(options).choose();
  };
  CHECK(choice({.result = Number::kBf16}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({.factors = Number::kBf16, .compute = CUBLAS_COMPUTE_32F_FAST_TF32}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({.compute = CUBLAS_COMPUTE_16F}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({.epilogue = CUBLASLT_EPILOGUE_GELU}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({.order_d = CUBLASLT_ORDER_ROW, .epilogue = CUBLASLT_EPILOGUE_BIAS}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({.factors = Number::kBf16}, {.major = 7, .minor = 5}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({.epilogue = CUBLASLT_EPILOGUE_RELU}, {.fused_epilogues = false}) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(choice({}, {.fused_epilogues = false}) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("a product only runs with the workspace, alignment and epilogue that it was chosen for") {
  cuda_on_host::reset({});
  Product product({});
  check(product.choose(16), "choose");
  CHECK(product.run(16) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(product.run(2 * kWorkspaceBytes) == CUBLAS_STATUS_SUCCESS);
  CHECK(product.run(kWorkspaceBytes, 4) == CUBLAS_STATUS_INVALID_VALUE);   // not aligned
  CHECK(product.run(kWorkspaceBytes, 16) == CUBLAS_STATUS_INVALID_VALUE);  // beyond the allocation
  product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_RELU));
  CHECK(product.run() == CUBLAS_STATUS_INVALID_VALUE);
}

TEST_CASE("an algorithm can be chosen for a bias that is not aligned, but cannot run with it") {
  cuda_on_host::reset({});
  Product product({.epilogue = CUBLASLT_EPILOGUE_BIAS});
  product.set_bias(4);
  check(product.choose(), "choose");
  CHECK(product.run() == CUBLAS_STATUS_INVALID_VALUE);
  product.set_bias(16);
  CHECK(product.run() == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("a product that never ran cannot be captured, because its kernel is not loaded yet") {
  cuda_on_host::reset({});
  Product product({});
  check(product.choose(), "choose");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "make a stream");
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  CHECK(product.run(kWorkspaceBytes, 0, stream) == CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(product.run(kWorkspaceBytes, 0, stream) == CUBLAS_STATUS_SUCCESS);
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  CHECK(product.run(kWorkspaceBytes, 0, stream) == CUBLAS_STATUS_SUCCESS);
  check(cudaStreamEndCapture(stream, &graph), "end");
  check(cudaGraphDestroy(graph), "destroy");
}
