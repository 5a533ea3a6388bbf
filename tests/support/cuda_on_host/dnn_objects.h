// The objects behind cuDNN's opaque handles in the stand-in.
#pragma once

#include <cudnn.h>

#include "tests/support/cuda_on_host/convolution.h"

struct cudnnContext {
  int device = 0;
  cudaStream_t stream = nullptr;
};

struct cudnnTensorStruct {
  cuda_on_host::Shape4 shape;
};

struct cudnnFilterStruct {
  cuda_on_host::Shape4 shape;
};

struct cudnnConvolutionStruct {
  cuda_on_host::Geometry geometry;
  bool correlation = true;
  cudnnDataType_t compute_type = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  int groups = 1;
};

namespace cuda_on_host {

// The height of y.
std::size_t output_height(const cudnnConvolutionStruct& convolution, const Shape4& x, const Shape4& w);
std::size_t output_width(const cudnnConvolutionStruct& convolution, const Shape4& x, const Shape4& w);

}  // namespace cuda_on_host
