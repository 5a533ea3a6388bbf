// Shapes and arithmetic of the stand-in's cuDNN convolutions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/support/cuda_on_host/numbers.h"

namespace cuda_on_host {

// Four numbers whose last three can be in a different order: samples or filters, channels, height, width.
struct Shape4 {
  Number type = Number::kF32;
  bool channels_last = false;
  std::size_t count = 0, channels = 0, height = 0, width = 0;

  std::size_t size() const { return count * channels * height * width; }
  std::size_t size_bytes() const { return size() * size_of(type); }
  std::size_t index(std::size_t n, std::size_t c, std::size_t h, std::size_t w) const {
    return channels_last ? ((n * height + h) * width + w) * channels + c
                         : ((n * channels + c) * height + h) * width + w;
  }
};

struct Geometry {
  int pad_height = 0, pad_width = 0, stride_height = 1, stride_width = 1, dilation_height = 1, dilation_width = 1;
};

// A convolution of x [count, in, ..] with w [out, in, kernel height, kernel width] into y [count, out, ..].
struct Convolution {
  Shape4 x, w, y;
  Geometry geometry;
  bool tf32 = false;          // float32 factors are rounded
  float alpha = 1, beta = 0;  // result = alpha * convolution + beta * result; the old result is not read if beta is 0
  std::vector<std::size_t> order = {};  // in which the samples' filter gradients are summed; empty: in sample order
};

// The height or width of y.
std::size_t output_size(std::size_t input, std::size_t kernel, int pad, int stride, int dilation);

void convolve(const Convolution& convolution, const void* x, const void* w, void* y);
void gradient_of_data(const Convolution& convolution, const void* w, const void* dy, void* dx);
void gradient_of_filters(const Convolution& convolution, const void* x, const void* dy, void* dw);

}  // namespace cuda_on_host
