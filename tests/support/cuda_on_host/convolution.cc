#include "tests/support/cuda_on_host/convolution.h"

#include <tuple>

namespace cuda_on_host {
namespace {

// Sizes of the matrices whose product is a sample's convolution: pixels of y, and the numbers of x that each of them
// depends on.
struct Matrices {
  explicit Matrices(const Convolution& c)
      : pixels(c.y.height * c.y.width), seen(c.w.channels * c.w.height * c.w.width), out(c.y.channels) {}
  std::size_t pixels, seen, out;
};

// Calls visit(pixel, seen, c, row, column) for every number of x that a pixel of y depends on, without padding.
template <typename Visit>
void visit_windows(const Convolution& convolution, const Visit& visit) {
  const auto& [x, w, y] = std::tie(convolution.x, convolution.w, convolution.y);
  const Geometry& g = convolution.geometry;
  for (std::size_t pixel = 0; pixel < y.height * y.width; ++pixel) {
    const auto top = static_cast<std::ptrdiff_t>(pixel / y.width) * g.stride_height - g.pad_height;
    const auto left = static_cast<std::ptrdiff_t>(pixel % y.width) * g.stride_width - g.pad_width;
    std::size_t seen = 0;
    for (std::size_t i = 0; i < w.height; ++i) {
      for (std::size_t j = 0; j < w.width; ++j, seen += w.channels) {
        const auto row = static_cast<std::size_t>(top + static_cast<std::ptrdiff_t>(i) * g.dilation_height);
        const auto column = static_cast<std::size_t>(left + static_cast<std::ptrdiff_t>(j) * g.dilation_width);
        if (row >= x.height || column >= x.width) continue;
        for (std::size_t c = 0; c < w.channels; ++c) visit(pixel, seen + c, c, row, column);
      }
    }
  }
}

float factor(const Convolution& convolution, const void* data, const Shape4& shape, std::size_t index) {
  const float value = load(data, shape.type, index);
  return convolution.tf32 ? to_tf32(value) : value;
}

// Stores alpha * value + beta * the old value.
void put(const Convolution& convolution, void* data, const Shape4& shape, std::size_t index, float value) {
  value *= convolution.alpha;
  if (convolution.beta != 0) value += convolution.beta * load(data, shape.type, index);
  store(data, shape.type, index, value);
}

// The filters as a matrix [seen, out], or [out, seen] with `out_first`.
std::vector<float> unpack_filters(const Convolution& convolution, const void* data, bool out_first) {
  const Shape4& w = convolution.w;
  const Matrices sizes(convolution);
  std::vector<float> values(w.size());
  for (std::size_t out = 0; out < w.count; ++out) {
    std::size_t seen = 0;
    for (std::size_t i = 0; i < w.height; ++i) {
      for (std::size_t j = 0; j < w.width; ++j) {
        for (std::size_t c = 0; c < w.channels; ++c, ++seen) {
          const std::size_t to = out_first ? out * sizes.seen + seen : seen * sizes.out + out;
          values[to] = factor(convolution, data, w, w.index(out, c, i, j));
        }
      }
    }
  }
  return values;
}

// A sample of dy as a matrix [pixels, out].
std::vector<float> unpack_pixels(const Convolution& convolution, const void* dy, std::size_t sample) {
  const Shape4& y = convolution.y;
  std::vector<float> values(y.height * y.width * y.channels);
  std::size_t to = 0;
  for (std::size_t h = 0; h < y.height; ++h) {
    for (std::size_t w = 0; w < y.width; ++w) {
      for (std::size_t c = 0; c < y.channels; ++c) values[to++] = factor(convolution, dy, y, y.index(sample, c, h, w));
    }
  }
  return values;
}

}  // namespace

std::size_t output_size(std::size_t input, std::size_t kernel, int pad, int stride, int dilation) {
  const auto covered = (static_cast<std::ptrdiff_t>(kernel) - 1) * dilation + 1;
  const auto room = static_cast<std::ptrdiff_t>(input) + 2 * std::ptrdiff_t{pad} - covered;
  return room < 0 ? 0 : static_cast<std::size_t>(room / stride + 1);
}

void convolve(const Convolution& convolution, const void* x, const void* w, void* y) {
  const Matrices sizes(convolution);
  const std::vector<float> filters = unpack_filters(convolution, w, false);
  std::vector<float> windows(sizes.pixels * sizes.seen), result(sizes.pixels * sizes.out);
  const Shape4& shape = convolution.y;
  for (std::size_t n = 0; n < convolution.x.count; ++n) {
    windows.assign(windows.size(), 0);
    visit_windows(convolution, [&](std::size_t pixel, std::size_t seen, std::size_t c, std::size_t h, std::size_t v) {
      windows[pixel * sizes.seen + seen] = factor(convolution, x, convolution.x, convolution.x.index(n, c, h, v));
    });
    result.assign(result.size(), 0);
    multiply_add({sizes.pixels, sizes.out, sizes.seen}, windows.data(), filters.data(), result.data());
    for (std::size_t pixel = 0; pixel < sizes.pixels; ++pixel) {
      for (std::size_t c = 0; c < sizes.out; ++c) {
        const std::size_t to = shape.index(n, c, pixel / shape.width, pixel % shape.width);
        put(convolution, y, shape, to, result[pixel * sizes.out + c]);
      }
    }
  }
}

void gradient_of_data(const Convolution& convolution, const void* w, const void* dy, void* dx) {
  const Matrices sizes(convolution);
  const std::vector<float> filters = unpack_filters(convolution, w, true);
  std::vector<float> windows(sizes.pixels * sizes.seen);
  const Shape4& shape = convolution.x;
  std::vector<float> sums(shape.size() / shape.count);
  const Shape4 one{.count = 1, .channels = shape.channels, .height = shape.height, .width = shape.width};
  for (std::size_t n = 0; n < shape.count; ++n) {
    const std::vector<float> pixels = unpack_pixels(convolution, dy, n);
    windows.assign(windows.size(), 0);
    multiply_add({sizes.pixels, sizes.seen, sizes.out}, pixels.data(), filters.data(), windows.data());
    sums.assign(sums.size(), 0);
    visit_windows(convolution, [&](std::size_t pixel, std::size_t seen, std::size_t c, std::size_t h, std::size_t v) {
      sums[one.index(0, c, h, v)] += windows[pixel * sizes.seen + seen];
    });
    for (std::size_t c = 0; c < shape.channels; ++c) {
      for (std::size_t h = 0; h < shape.height; ++h) {
        for (std::size_t v = 0; v < shape.width; ++v) {
          put(convolution, dx, shape, shape.index(n, c, h, v), sums[one.index(0, c, h, v)]);
        }
      }
    }
  }
}

void gradient_of_filters(const Convolution& convolution, const void* x, const void* dy, void* dw) {
  const Matrices sizes(convolution);
  std::vector<float> windows(sizes.seen * sizes.pixels), sums(sizes.seen * sizes.out);
  for (std::size_t i = 0; i < convolution.x.count; ++i) {
    const std::size_t n = convolution.order.empty() ? i : convolution.order[i];
    const std::vector<float> pixels = unpack_pixels(convolution, dy, n);
    windows.assign(windows.size(), 0);
    visit_windows(convolution, [&](std::size_t pixel, std::size_t seen, std::size_t c, std::size_t h, std::size_t v) {
      windows[seen * sizes.pixels + pixel] = factor(convolution, x, convolution.x, convolution.x.index(n, c, h, v));
    });
    multiply_add({sizes.seen, sizes.out, sizes.pixels}, windows.data(), pixels.data(), sums.data());
  }
  const Shape4& w = convolution.w;
  for (std::size_t out = 0; out < w.count; ++out) {
    std::size_t seen = 0;
    for (std::size_t i = 0; i < w.height; ++i) {
      for (std::size_t j = 0; j < w.width; ++j) {
        for (std::size_t c = 0; c < w.channels; ++c, ++seen) {
          put(convolution, dw, w, w.index(out, c, i, j), sums[seen * sizes.out + out]);
        }
      }
    }
  }
}

}  // namespace cuda_on_host
