// Tests the parts of cuDNN and cuBLASLt that need no GPU, with the real libraries: shape inference and descriptors of
// every layer of every model and case. On a machine without a GPU these are the only parts that can run.
#include <variant>

#include "lib/backend/cuda/dnn_convolution.h"
#include "lib/backend/cuda/plan.h"
#include "lib/backend/cuda/tensors.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

cuda::DnnConvolutionConfig config_of(const Conv2d& layer, std::int64_t batch, Precision precision) {
  const cuda::Arithmetic arithmetic = cuda::arithmetic_of(precision);
  const auto size = static_cast<std::int32_t>(batch);
  Shape input = layer.input;
  Window window = layer.window;
  if (!cuda::symmetric_padding(window)) {  // the executor adds the padding itself
    input.height += window.pad_top + window.pad_bottom;
    input.width += window.pad_left + window.pad_right;
    window.pad_top = window.pad_bottom = window.pad_left = window.pad_right = 0;
  }
  return {.x = cuda::image_view(input, size, arithmetic.type, arithmetic.layout),
          .y = cuda::image_view(layer.output, size, arithmetic.type, arithmetic.layout),
          .window = window,
          .tf32 = arithmetic.tf32,
          .needs_dx = true};
}

}  // namespace

TEST_CASE("cuDNN infers the same shape for every convolution as the graph") {
  int convolutions = 0;
  for (const BackendCase& each : backend_cases()) {
    for (const Layer& layer : each.graph.layers) {
      const auto* convolution = std::get_if<Conv2d>(&layer);
      if (convolution == nullptr) continue;
      for (const Precision precision : {Precision::kF32, Precision::kTf32, Precision::kBf16}) {
        INFO(each.name << ", " << convolution->scope << ", " << to_string(precision));
        ++convolutions;
        CHECK_NOTHROW(cuda::check_output_shape(config_of(*convolution, each.batch, precision)));
      }
    }
  }
  CHECK(convolutions > 60);
}

TEST_CASE("a shape that does not match is detected") {
  Conv2d layer;
  layer.input = {3, 8, 8};
  layer.output = {4, 8, 8};
  layer.window = {3, 3, 1, 1, 1, 1, 1};
  CHECK_NOTHROW(cuda::check_output_shape(config_of(layer, 2, Precision::kF32)));
  layer.output.height = 7;
  CHECK_THROWS(cuda::check_output_shape(config_of(layer, 2, Precision::kF32)));
}

TEST_CASE("the linked libraries are those that were compiled against") {
  CHECK(cudnnGetVersion() / 10000 == CUDNN_MAJOR);
  CHECK(cublasLtGetVersion() / 10000 == CUBLAS_VER_MAJOR);
}
