// Tests the stand-in for CUDA: compares cuDNN's convolutions with plain loops.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "lib/backend/cuda/check.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/cuda_on_host/convolution.h"
#include "tests/support/cuda_on_host/device_array.h"

using namespace distmnist;
using namespace distmnist::cuda;
using cuda_on_host::DeviceArray;
using cuda_on_host::Number;
using cuda_on_host::Shape4;

namespace {

constexpr std::size_t kWorkspaceBytes = 4 << 20;

// Four-dimensional numbers in device memory, and as doubles in NCHW order.
struct Numbers {
  Numbers(const Shape4& wanted, Random& random) : shape(wanted), bytes(wanted.size_bytes()) {
    std::vector<std::byte> host(bytes.size());
    for (std::size_t i = 0; i < shape.size(); ++i) {
      cuda_on_host::store(host.data(), shape.type, i, static_cast<float>(random.uniform() * 2 - 1));
    }
    check(cudaMemcpy(bytes.data(), host.data(), host.size(), cudaMemcpyHostToDevice), "copy");
    values = fetch();
  }
  std::vector<double> fetch() const {
    const std::vector<std::byte> host = bytes.fetch();
    std::vector<double> result;
    for (std::size_t n = 0; n < shape.count; ++n) {
      for (std::size_t c = 0; c < shape.channels; ++c) {
        for (std::size_t i = 0; i < shape.height * shape.width; ++i) {
          const std::size_t index = shape.index(n, c, i / shape.width, i % shape.width);
          result.push_back(cuda_on_host::load(host.data(), shape.type, index));
        }
      }
    }
    return result;
  }
  std::size_t index(std::size_t n, std::size_t c, std::size_t h, std::size_t w) const {
    return ((n * shape.channels + c) * shape.height + h) * shape.width + w;
  }

  Shape4 shape;
  DeviceArray<std::byte> bytes;
  std::vector<double> values;
};

struct Options {
  Number type = Number::kF32;
  bool channels_last = false;
  cudnnMathType_t math = CUDNN_FMA_MATH;
  int pad = 1, stride = 1;
  float alpha = 1, beta = 0;
};

// x [3, 2, 7, 6] with filters [4, 2, 3, 2].
class Convolution {
 public:
  explicit Convolution(const Options& options)
      : options_(options),
        x_(shape(3, 2, 7, 6), random_),
        w_(shape(4, 2, 3, 2), random_),
        more_w_(2 * w_.bytes.size()),
        y_(shape(3, 4, output(7, 3), output(6, 2)), random_),
        workspace_(kWorkspaceBytes) {
    check(cudnnCreate(&handle_), "start");
    check(cudnnCreateTensorDescriptor(&x_shape_), "describe");
    check(cudnnCreateTensorDescriptor(&y_shape_), "describe");
    check(cudnnCreateFilterDescriptor(&w_shape_), "describe");
    check(cudnnCreateConvolutionDescriptor(&convolution_), "describe");
    const auto format = options.channels_last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    const auto type = options.type == Number::kF32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
    check(cudnnSetTensor4dDescriptor(x_shape_, format, type, 3, 2, 7, 6), "describe");
    check(cudnnSetFilter4dDescriptor(w_shape_, type, format, 4, 2, 3, 2), "describe");
    check(cudnnSetConvolution2dDescriptor(convolution_, options.pad, options.pad, options.stride, options.stride, 1, 1,
                                          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "describe");
    check(cudnnSetConvolutionMathType(convolution_, options.math), "describe");
    int n = 0, c = 0, height = 0, width = 0;
    check(cudnnGetConvolution2dForwardOutputDim(convolution_, x_shape_, w_shape_, &n, &c, &height, &width), "infer");
    CHECK(std::array{n, c, height, width} ==
          std::array{3, 4, static_cast<int>(output(7, 3)), static_cast<int>(output(6, 2))});
    check(cudnnSetTensor4dDescriptor(y_shape_, format, type, n, c, height, width), "describe");
  }
  Convolution(const Convolution&) = delete;
  ~Convolution() {
    cudnnDestroyConvolutionDescriptor(convolution_);
    cudnnDestroyFilterDescriptor(w_shape_);
    cudnnDestroyTensorDescriptor(y_shape_);
    cudnnDestroyTensorDescriptor(x_shape_);
    cudnnDestroy(handle_);
  }

  cudnnStatus_t forward(cudnnConvolutionFwdAlgo_t algorithm, std::size_t workspace_bytes = kWorkspaceBytes) {
    return cudnnConvolutionForward(handle_, &options_.alpha, x_shape_, x_.bytes.data(), w_shape_, w_.bytes.data(),
                                   convolution_, algorithm, workspace_.data(), workspace_bytes, &options_.beta,
                                   y_shape_, y_.bytes.data());
  }
  // With filters `offset` bytes after an aligned address.
  cudnnStatus_t forward_shifted(std::size_t offset) {
    return cudnnConvolutionForward(handle_, &options_.alpha, x_shape_, x_.bytes.data(), w_shape_,
                                   more_w_.data() + offset, convolution_, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
                                   workspace_.data(), kWorkspaceBytes, &options_.beta, y_shape_, y_.bytes.data());
  }
  cudnnStatus_t backward_data() {
    return cudnnConvolutionBackwardData(handle_, &options_.alpha, w_shape_, w_.bytes.data(), y_shape_, y_.bytes.data(),
                                        convolution_, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, workspace_.data(),
                                        kWorkspaceBytes, &options_.beta, x_shape_, x_.bytes.data());
  }
  cudnnStatus_t backward_filter(cudnnConvolutionBwdFilterAlgo_t algorithm = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1) {
    return cudnnConvolutionBackwardFilter(handle_, &options_.alpha, x_shape_, x_.bytes.data(), y_shape_,
                                          y_.bytes.data(), convolution_, algorithm, workspace_.data(), kWorkspaceBytes,
                                          &options_.beta, w_shape_, w_.bytes.data());
  }

  // The expected result of each pass, from plain loops over the numbers before it.
  std::vector<double> expected_y() const { return expected(y_, kY); }
  std::vector<double> expected_dx() const { return expected(x_, kX); }
  std::vector<double> expected_dw() const { return expected(w_, kW); }
  std::vector<double> y() const { return y_.fetch(); }
  std::vector<double> x() const { return x_.fetch(); }
  std::vector<double> w() const { return w_.fetch(); }

  cudnnHandle_t handle_ = nullptr;
  cudnnTensorDescriptor_t x_shape_ = nullptr, y_shape_ = nullptr;
  cudnnFilterDescriptor_t w_shape_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;

 private:
  enum Which { kX, kW, kY };

  Shape4 shape(std::size_t n, std::size_t c, std::size_t h, std::size_t w) const {
    return {options_.type, options_.channels_last, n, c, h, w};
  }
  std::size_t output(std::size_t input, std::size_t kernel) const {
    return (input + 2 * static_cast<std::size_t>(options_.pad) - kernel) / static_cast<std::size_t>(options_.stride) +
           1;
  }
  // Calls sum(index in x, in w, in y) for each product of the convolution.
  template <typename Sum>
  void visit(const Sum& sum) const {
    const Shape4 &x = x_.shape, &w = w_.shape, &y = y_.shape;
    for (std::size_t i = 0; i < y.size() * w.size() / w.count; ++i) {
      std::size_t rest = i;
      const auto next = [&](std::size_t size) {
        const std::size_t digit = rest % size;
        rest /= size;
        return digit;
      };
      const std::size_t n = next(y.count), k = next(y.channels), h = next(y.height), v = next(y.width);
      const std::size_t c = next(w.channels), r = next(w.height), s = next(w.width);
      const int row = static_cast<int>(h) * options_.stride + static_cast<int>(r) - options_.pad;
      const int column = static_cast<int>(v) * options_.stride + static_cast<int>(s) - options_.pad;
      if (row < 0 || row >= static_cast<int>(x.height) || column < 0 || column >= static_cast<int>(x.width)) continue;
      sum(x_.index(n, c, static_cast<std::size_t>(row), static_cast<std::size_t>(column)), w_.index(k, c, r, s),
          y_.index(n, k, h, v));
    }
  }
  std::vector<double> expected(const Numbers& result, Which which) const {
    std::vector<double> sums(result.values.size(), 0);
    visit([&](std::size_t x, std::size_t w, std::size_t y) {
      if (which == kX) sums[x] += w_.values[w] * y_.values[y];
      if (which == kW) sums[w] += x_.values[x] * y_.values[y];
      if (which == kY) sums[y] += x_.values[x] * w_.values[w];
    });
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = options_.alpha * sums[i] + options_.beta * result.values[i];
    return sums;
  }

  Options options_;
  Random random_{5, 0};
  Numbers x_, w_;
  DeviceArray<std::byte> more_w_;
  Numbers y_;
  DeviceArray<std::byte> workspace_;
};

// The largest difference relative to the largest number; infinite if there is a NaN.
double difference(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double largest = 0, scale = 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - expected[i]);
    largest = error == error ? std::max(largest, error) : INFINITY;
    scale = std::max(scale, std::abs(expected[i]));
  }
  return largest / scale;
}

// The largest error of the three passes.
double error_of_passes(const Options& options) {
  double error = 0;
  const auto after = [&](const auto& pass) {
    cuda_on_host::reset({});
    Convolution convolution(options);
    error = std::max(error, pass(convolution));
  };
  after([](Convolution& convolution) {
    check(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM), "start");
    return difference(convolution.y(), convolution.expected_y());
  });
  after([](Convolution& convolution) {
    check(convolution.backward_data(), "start");
    return difference(convolution.x(), convolution.expected_dx());
  });
  after([](Convolution& convolution) {
    check(convolution.backward_filter(), "start");
    return difference(convolution.w(), convolution.expected_dw());
  });
  return error;
}

}  // namespace

TEST_CASE("the three passes match plain loops in both layouts, with and without padding, and with strides") {
  for (const bool channels_last : {false, true}) {
    for (const int pad : {0, 1}) {
      for (const int stride : {1, 2}) {
        CAPTURE(channels_last, pad, stride);
        CHECK(error_of_passes({.channels_last = channels_last, .pad = pad, .stride = stride}) < 1e-6);
      }
    }
  }
  CHECK(error_of_passes({.alpha = 2, .beta = -1}) < 1e-6);
}

TEST_CASE("bfloat16 results are rounded once, TF32 factors to 10 bits") {
  const double rounded = error_of_passes({.type = Number::kBf16, .channels_last = true, .math = CUDNN_TENSOR_OP_MATH});
  CHECK(rounded > 1e-5);
  CHECK(rounded < 1.0 / 256);
  for (const auto math : {CUDNN_TENSOR_OP_MATH, CUDNN_DEFAULT_MATH}) {
    const double tf32 = error_of_passes({.math = math});
    CHECK(tf32 > 1e-6);
    CHECK(tf32 < 4.0 / 1024);
  }
}

TEST_CASE("some algorithms are not repeatable, and some need too much memory") {
  cuda_on_host::reset({});
  Convolution convolution({.math = CUDNN_DEFAULT_MATH});
  int count = 0;
  std::array<cudnnConvolutionFwdAlgoPerf_t, 8> forward{};
  check(
      cudnnGetConvolutionForwardAlgorithm_v7(convolution.handle_, convolution.x_shape_, convolution.w_shape_,
                                             convolution.convolution_, convolution.y_shape_, 8, &count, forward.data()),
      "choose");
  REQUIRE(count == 5);
  CHECK(forward[0].memory > std::size_t{1} << 30);
  CHECK(std::is_sorted(forward.begin(), forward.begin() + count,
                       [](const auto& a, const auto& b) { return a.time < b.time; }));
  std::array<cudnnConvolutionBwdFilterAlgoPerf_t, 8> filter{};
  check(cudnnGetConvolutionBackwardFilterAlgorithm_v7(convolution.handle_, convolution.x_shape_, convolution.y_shape_,
                                                      convolution.convolution_, convolution.w_shape_, 8, &count,
                                                      filter.data()),
        "choose");
  REQUIRE(count == 6);
  CHECK(filter[0].determinism == CUDNN_NON_DETERMINISTIC);
  std::size_t size = 0;
  check(cudnnGetConvolutionBackwardFilterWorkspaceSize(convolution.handle_, convolution.x_shape_, convolution.y_shape_,
                                                       convolution.convolution_, convolution.w_shape_, filter[2].algo,
                                                       &size),
        "ask");
  CHECK(size == filter[2].memory);
  check(cudnnSetConvolutionMathType(convolution.convolution_, CUDNN_FMA_MATH), "describe");
  check(cudnnGetConvolutionBackwardFilterAlgorithm_v7(convolution.handle_, convolution.x_shape_, convolution.y_shape_,
                                                      convolution.convolution_, convolution.w_shape_, 8, &count,
                                                      filter.data()),
        "choose");
  REQUIRE(count == 3);
  CHECK(filter[0].mathType == CUDNN_FMA_MATH);
}

TEST_CASE("sums of an algorithm that is not repeatable differ between runs") {
  const auto sums = [](cudnnConvolutionBwdFilterAlgo_t algorithm, std::uint64_t seed) {
    cuda_on_host::reset({.seed = seed});
    Convolution convolution({.math = CUDNN_FMA_MATH});
    check(convolution.backward_filter(algorithm), "start");
    return convolution.w();
  };
  const auto differ = [&](cudnnConvolutionBwdFilterAlgo_t algorithm) {
    int different = 0;
    for (std::uint64_t seed = 1; seed < 12; ++seed) different += sums(algorithm, 0) != sums(algorithm, seed) ? 1 : 0;
    return different > 0;
  };
  CHECK(differ(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3));
  CHECK_FALSE(differ(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1));
}

TEST_CASE("calls that do not match what was queried are refused") {
  cuda_on_host::reset({});
  Convolution convolution({});
  CHECK(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, 16) == CUDNN_STATUS_BAD_PARAM);
  CHECK(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_FFT) == CUDNN_STATUS_NOT_SUPPORTED);
  check(cudnnSetTensor4dDescriptor(convolution.x_shape_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 3, 2, 7, 6), "describe");
  CHECK(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM) == CUDNN_STATUS_NOT_SUPPORTED);
  check(cudnnSetTensor4dDescriptor(convolution.x_shape_, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 3, 2, 8, 6), "describe");
  CHECK(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM) == CUDNN_STATUS_BAD_PARAM);
  check(cudnnSetTensor4dDescriptor(convolution.x_shape_, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 3, 2, 7, 6), "describe");
  CHECK(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM) == CUDNN_STATUS_SUCCESS);
}

TEST_CASE("tensors must be aligned") {
  cuda_on_host::reset({});
  Convolution convolution({});
  CHECK(convolution.forward_shifted(4) == CUDNN_STATUS_BAD_PARAM);
  CHECK(convolution.forward_shifted(16) == CUDNN_STATUS_SUCCESS);
}

TEST_CASE("Winograd's results are not exact") {
  cuda_on_host::reset({});
  Convolution convolution({.math = CUDNN_FMA_MATH});
  check(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED), "start");
  CHECK(difference(convolution.y(), convolution.expected_y()) > 5e-4);
}

TEST_CASE("proposals without a repeatable algorithm do not contain those that exist") {
  cuda_on_host::reset({.repeatable_advice = false});
  Convolution convolution({.math = CUDNN_FMA_MATH});
  int count = -1;
  std::array<cudnnConvolutionBwdDataAlgoPerf_t, 8> data{};
  check(cudnnGetConvolutionBackwardDataAlgorithm_v7(convolution.handle_, convolution.w_shape_, convolution.y_shape_,
                                                    convolution.convolution_, convolution.x_shape_, 8, &count,
                                                    data.data()),
        "choose");
  REQUIRE(count == 1);
  CHECK(data[0].determinism == CUDNN_NON_DETERMINISTIC);
  CHECK(convolution.backward_data() == CUDNN_STATUS_SUCCESS);
}

TEST_CASE("a GPU without bfloat16 does not have bfloat16 convolutions") {
  cuda_on_host::reset({.major = 7, .minor = 5});
  Convolution convolution({.type = Number::kBf16});
  CHECK(convolution.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM) == CUDNN_STATUS_NOT_SUPPORTED);
}
