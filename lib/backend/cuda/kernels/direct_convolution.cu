#include "lib/backend/cuda/kernels/direct_convolution.h"

#include "lib/backend/cuda/kernels/pooling.h"

#include "lib/backend/cuda/kernels/device_code.h"

namespace distmnist::cuda {
namespace {

constexpr int kMaxChannels = 4, kMaxKernel = 5;
constexpr int kMaxTaps = kMaxChannels * kMaxKernel * kMaxKernel;  // weights per filter
constexpr int kGroup = 8;                                         // output channels per block
// Pooled pixels per block: one per thread, in a tile as wide as the output if that fits.
constexpr int kTilePixels = 256, kMaxTileRows = 16, kMaxTileColumns = 32;
// Blocks along the images: enough to fill any GPU. With more images, each block processes several, so its filters are
// loaded once.
constexpr std::int64_t kMaxImageBlocks = 512;
// Maximum number of partial gradient sums, each over the images of different blocks.
constexpr std::int64_t kMaxPartials = 128;

// Maximum size of the part of the image that a tile of pooled pixels needs, including zero padding (see Geometry). The
// worst case is 16 x 16 pixels.
constexpr int kTileNumbers = kMaxChannels * (2 * kMaxTileRows + kMaxKernel - 1) * 48;

constexpr std::int32_t ceil_div(std::int32_t a, std::int32_t b) {
  return (a + b - 1) / b;
}

// Sizes used by both host and device.
struct Geometry {
  Geometry(const Conv2d& layer, const TensorView& pooled)
      : in(static_cast<std::int32_t>(layer.input.channels)),
        out(pooled.channels),
        kernel_height(static_cast<std::int32_t>(layer.window.height)),
        kernel_width(static_cast<std::int32_t>(layer.window.width)),
        pad_top(static_cast<std::int32_t>(layer.window.pad_top)),
        pad_left(static_cast<std::int32_t>(layer.window.pad_left)),
        columns(std::min<std::int32_t>(pooled.width, kMaxTileColumns)),
        rows(std::min({pooled.height, kTilePixels / columns, kMaxTileRows})),
        tiles_across(ceil_div(pooled.width, columns)),
        tiles(ceil_div(pooled.height, rows) * tiles_across),
        image_height(2 * rows + kernel_height - 1),
        image_width(2 * columns + kernel_width - 1),
        // Lanes of a warp in the next row of pixels use the memory banks that follow those of the previous row.
        pitch(image_width + ((columns - image_width) % 16 + 16) % 16),
        relu(layer.activation == Activation::kRelu) {}

  __host__ __device__ std::int32_t filter_rows() const { return in * kernel_height; }
  __host__ __device__ std::int32_t taps() const { return in * kernel_height * kernel_width; }

  std::int32_t in, out, kernel_height, kernel_width, pad_top, pad_left;
  std::int32_t columns, rows;              // of a tile, in pooled pixels
  std::int32_t tiles_across, tiles;        // per image
  std::int32_t image_height, image_width;  // the part of the image that a tile needs
  std::int32_t pitch;                      // row stride of that part
  bool relu;
};

// The pooled pixel of a thread: in its tile, and in the tensor.
struct Pixel {
  std::int32_t tile_row, tile_column;
  std::int32_t row, column;
  bool inside;
};
template <typename Number>
__device__ Pixel pixel_of(std::int32_t thread, const Geometry& g, std::int32_t tile, const Tensor<Number>& pooled) {
  Pixel pixel{thread / g.columns, thread % g.columns, 0, 0, false};
  pixel.row = tile / g.tiles_across * g.rows + pixel.tile_row;
  pixel.column = tile % g.tiles_across * g.columns + pixel.tile_column;
  pixel.inside = pixel.tile_row < g.rows && pixel.row < pooled.height && pixel.column < pooled.width;
  return pixel;
}

// A tile of image n.
struct ImageTile {
  std::int32_t n, tile;
};

// image [in, image_height, pitch] = the part of x that the tile needs.
template <typename X>
__device__ void load_image(const Geometry& g, const Tensor<X>& x, ImageTile at, float* image) {
  const std::int32_t top = at.tile / g.tiles_across * g.rows * 2 - g.pad_top;
  const std::int32_t left = at.tile % g.tiles_across * g.columns * 2 - g.pad_left;
  const std::uint32_t width = g.image_width, height = g.image_height, size = g.in * height * width;
  for (std::uint32_t i = threadIdx.x; i < size; i += blockDim.x) {
    const std::int32_t column = i % width, row = i / width % height, channel = i / width / height;
    const Place from{channel, top + row, left + column};
    const bool inside = from.row >= 0 && from.row < x.height && from.column >= 0 && from.column < x.width;
    image[(channel * g.image_height + row) * g.pitch + column] = inside ? x.get(at.n, from) : 0.0f;
  }
}

using Filters = Vector<float, kGroup>;  // the same tap of all filters of a block

// A block has kGroup channels of the output, from this one on.
__device__ inline std::int32_t first_channel_of_block() {
  return blockIdx.y * kGroup;
}

// filters [in, kernel_height, kernel_width], zero for channels that do not exist.
__device__ inline void load_filters(const Geometry& g, const float* weights, Filters* filters) {
  const std::int32_t taps = g.taps(), first_channel = first_channel_of_block();
  for (std::int32_t i = threadIdx.x; i < taps * kGroup; i += blockDim.x) {
    const std::int32_t tap = i / kGroup, channel = first_channel + i % kGroup;
    filters[tap].at[i % kGroup] = channel < g.out ? weights[channel * taps + tap] : 0.0f;
  }
}

// sums[p][k] = the convolution at pixel p (row, column) of the window whose image part starts at `corner`, for channel
// k.
__device__ inline void convolve_window(const Geometry& g, const float* corner, const Filters* filters,
                                       float (&sums)[4][kGroup]) {
  for (std::int32_t i = 0; i < g.in; ++i) {
    for (std::int32_t row = 0; row < g.kernel_height; ++row) {
      const float* const upper = corner + (i * g.image_height + row) * g.pitch;
      const float* const lower = upper + g.pitch;
      float upper_left = upper[0], lower_left = lower[0];
      for (std::int32_t column = 1; column <= g.kernel_width; ++column, ++filters) {
        const float upper_right = upper[column], lower_right = lower[column];
        const Filters factors = *filters;
        for (int k = 0; k < kGroup; ++k) {
          sums[0][k] += upper_left * factors.at[k];
          sums[1][k] += upper_right * factors.at[k];
          sums[2][k] += lower_left * factors.at[k];
          sums[3][k] += lower_right * factors.at[k];
        }
        upper_left = upper_right;
        lower_left = lower_right;
      }
    }
  }
}

// The largest activation of a window, and its index, as in max_pool_forward().
struct Pooled {
  float number;
  std::uint8_t choice;
};
__device__ inline Pooled pool_window(const float (&sums)[4][kGroup], int k, float bias, bool relu) {
  float best = 0;
  std::uint8_t choice = 0;
  for (int p = 0; p < 4; ++p) {
    const float sum = sums[p][k] + bias;
    const float number = relu && sum < 0 ? 0.0f : sum;
    if (p == 0 || number > best) {
      best = number;
      choice = static_cast<std::uint8_t>(p);
    }
  }
  return {best, relu && !(best > 0) ? kNoneChosen : choice};
}

// The parameters of the convolution, or their gradients: weights [out, in, kernel height, kernel width], biases [out].
template <typename Float>
struct ConvolutionParameters {
  Float* weights;
  Float* biases;
};

// Pooled numbers (or their gradients) and choices, [batch, out, pooled height, pooled width].
template <typename Number, typename Byte>
struct PooledTensor {
  Tensor<Number> numbers;
  Byte* chosen;
  bool wide;  // the kGroup channels of a pixel can be accessed as one vector
};

// x [batch, in, height, width]. A block keeps a tile of an image and kGroup filters in shared memory. A thread computes
// the kGroup channels of one pooled pixel in registers: per tap, it loads 2 numbers of the image and kGroup of the
// filters for 4 kGroup products.
//
// Bound: the products. The 50 x 28 x 28 x 32 x 25 of MNIST are 31 million fused multiply-adds, which take a microsecond
// on the 17,000 lanes of an H200 at 1.8 GHz; 200 blocks on 132 processors leave a quarter of them idle. Bytes: 1 MB,
// 0.2 microseconds.
template <typename X, typename Y>
__global__ void direct_forward_kernel(Geometry g, ConvolutionParameters<const float> parameters, Tensor<X> x,
                                      PooledTensor<Y, std::uint8_t> output) {
  __shared__ float image[kTileNumbers];
  __shared__ Filters filters[kMaxTaps];
  const std::int32_t tile = blockIdx.x, first_channel = first_channel_of_block();
  const Tensor<Y>& y = output.numbers;
  std::uint8_t* const chosen = output.chosen;
  const float* const biases = parameters.biases;
  const Pixel pixel = pixel_of(threadIdx.x, g, tile, y);
  load_filters(g, parameters.weights, filters);
  for (std::int32_t n = blockIdx.z; n < y.batch; n += gridDim.z) {
    __syncthreads();
    load_image(g, x, {n, tile}, image);
    __syncthreads();
    if (!pixel.inside) continue;
    float sums[4][kGroup] = {};
    convolve_window(g, image + 2 * pixel.tile_row * g.pitch + 2 * pixel.tile_column, filters, sums);
    const std::int64_t first = y.offset(n, {first_channel, pixel.row, pixel.column});
    Vector<Y, kGroup> numbers;
    Vector<std::uint8_t, kGroup> choices;
    for (int k = 0; k < kGroup; ++k) {
      const Pooled pooled = pool_window(sums, k, first_channel + k < g.out ? biases[first_channel + k] : 0.0f, g.relu);
      numbers.at[k] = from_float<Y>(pooled.number);
      choices.at[k] = pooled.choice;
    }
    if (output.wide) {
      vector_at<kGroup>(y.data + first) = numbers;
      if (chosen != nullptr) vector_at<kGroup>(chosen + first) = choices;
      continue;
    }
    for (int k = 0; k < kGroup; ++k) {
      if (first_channel + k >= g.out) continue;
      y.data[first + k * y.channel_step] = numbers.at[k];
      if (chosen != nullptr) chosen[first + k * y.channel_step] = choices.at[k];
    }
  }
}

// The pooled gradients of one tile and kGroup channels, and the start of the filter window of each chosen pixel in the
// tile's image.
struct TileGradients {
  float gradients[kGroup][kTilePixels];
  std::uint16_t origins[kGroup][kTilePixels];
};

template <typename Dy>
__device__ void load_gradients(const Geometry& g, const PooledTensor<Dy, const std::uint8_t>& gradient, ImageTile at,
                               TileGradients& loaded) {
  const std::int32_t first_channel = first_channel_of_block();
  const Tensor<Dy>& dy = gradient.numbers;
  const std::uint8_t* const chosen = gradient.chosen;
  const Pixel pixel = pixel_of(threadIdx.x, g, at.tile, dy);
  Vector<Dy, kGroup> numbers{};
  Vector<std::uint8_t, kGroup> choices;
  for (int k = 0; k < kGroup; ++k) choices.at[k] = kNoneChosen;
  const std::int64_t first = pixel.inside ? dy.offset(at.n, {first_channel, pixel.row, pixel.column}) : 0;
  if (pixel.inside && gradient.wide) {
    numbers = vector_at<kGroup>(dy.data + first);
    choices = vector_at<kGroup>(chosen + first);
  } else if (pixel.inside) {
    for (int k = 0; k < kGroup; ++k) {
      if (first_channel + k >= g.out) continue;
      numbers.at[k] = dy.data[first + k * dy.channel_step];
      choices.at[k] = chosen[first + k * dy.channel_step];
    }
  }
  for (int k = 0; k < kGroup; ++k) {
    const bool none = choices.at[k] == kNoneChosen;
    const std::int32_t row = 2 * pixel.tile_row + choices.at[k] / 2, column = 2 * pixel.tile_column + choices.at[k] % 2;
    loaded.gradients[k][threadIdx.x] = none ? 0.0f : to_float(numbers.at[k]);
    loaded.origins[k][threadIdx.x] = static_cast<std::uint16_t>(none ? 0 : row * g.pitch + column);
  }
}

// Those of one channel.
struct ChannelGradients {
  const float* gradients;        // [kTilePixels]
  const std::uint16_t* origins;  // [kTilePixels]
};

// The gradients of one row of a filter.
struct FilterRowSums {
  float* taps;  // [kernel width]
  float* bias;  // null except for the first row
};

// Adds the sums over the tile's pixels. Runs on one warp; each lane takes every 32nd pixel.
__device__ inline void add_filter_row(const Geometry& g, const float* image, ChannelGradients channel,
                                      FilterRowSums sums) {
  const std::int32_t lane = threadIdx.x % kWarp;
  float of_taps[kMaxKernel] = {}, of_gradients = 0;
  for (std::int32_t pixel = lane; pixel < g.rows * g.columns; pixel += kWarp) {
    const float gradient = channel.gradients[pixel];
    const float* const from = image + channel.origins[pixel];
    of_gradients += gradient;
    for (int column = 0; column < kMaxKernel; ++column) {
      if (column < g.kernel_width) of_taps[column] += gradient * from[column];
    }
  }
  for (int column = 0; column < kMaxKernel; ++column) {
    const float sum = warp_sum(of_taps[column]);
    if (lane == 0 && column < g.kernel_width) sums.taps[column] += sum;
  }
  if (sums.bias == nullptr) return;
  const float sum = warp_sum(of_gradients);
  if (lane == 0) *sums.bias += sum;
}

// x as above. partials [gridDim.x, out (taps + 1)]: each row has the sums of the weights,
// then of the biases, over the images of the blocks with one blockIdx.x. A block keeps a tile of an image and the
// gradients of kGroup channels in shared memory; a warp processes one row of a filter at a time.
//
// Bound: reads of shared memory, one per product, because the pixel of a window that has the gradient varies. The 50 x
// 14 x 14 x 32 x 25 = 8 million of MNIST take 2 microseconds if half of them hit a busy bank.
template <typename X, typename Dy>
__global__ void direct_backward_kernel(Geometry g, Tensor<X> x, PooledTensor<Dy, const std::uint8_t> gradient,
                                       float* partials) {
  __shared__ float image[kTileNumbers];
  __shared__ TileGradients loaded;
  __shared__ float sums[kGroup][kMaxTaps + 1];  // the last one is for the bias
  const std::int32_t first_channel = first_channel_of_block(), taps = g.taps(), warp = threadIdx.x / kWarp;
  for (std::int32_t i = threadIdx.x; i < kGroup * (kMaxTaps + 1); i += kTilePixels) {
    sums[i / (kMaxTaps + 1)][i % (kMaxTaps + 1)] = 0;
  }
  for (std::int32_t n = blockIdx.x; n < gradient.numbers.batch; n += gridDim.x) {
    for (std::int32_t tile = 0; tile < g.tiles; ++tile) {
      __syncthreads();
      load_image(g, x, {n, tile}, image);
      load_gradients(g, gradient, {n, tile}, loaded);
      __syncthreads();
      for (std::int32_t task = warp; task < kGroup * g.filter_rows(); task += kTilePixels / kWarp) {
        const std::int32_t k = task % kGroup, row = task / kGroup;
        const std::int32_t image_row = row / g.kernel_height * g.image_height + row % g.kernel_height;
        add_filter_row(g, image + image_row * g.pitch, {loaded.gradients[k], loaded.origins[k]},
                       {&sums[k][row * g.kernel_width], row == 0 ? &sums[k][kMaxTaps] : nullptr});
      }
    }
  }
  __syncthreads();
  float* const weights = partials + static_cast<std::int64_t>(blockIdx.x) * g.out * (taps + 1);
  for (std::int32_t i = threadIdx.x; i < kGroup * (taps + 1); i += kTilePixels) {
    const std::int32_t k = i / (taps + 1), tap = i % (taps + 1), channel = first_channel + k;
    if (channel >= g.out) continue;
    if (tap < taps) {
      weights[channel * taps + tap] = sums[k][tap];
    } else {
      weights[g.out * taps + channel] = sums[k][kMaxTaps];
    }
  }
}

// Sums over the images of different blocks, [rows, weights + biases].
struct Partials {
  const float* sums;
  std::int32_t rows, weights, biases;
};

// gradients = the column sums. For MNIST, 50 x 832 floats are 170 kB, which takes less time than the launch.
__global__ void sum_partials_kernel(Partials partials, ConvolutionParameters<float> gradients) {
  const std::int32_t columns = partials.weights + partials.biases;
  const std::int32_t column = blockIdx.x * kSumColumns + threadIdx.x;
  const float sum = column_sum(column < columns ? partials.rows : 0, [&](std::int32_t row) {
    return partials.sums[static_cast<std::int64_t>(row) * columns + column];
  });
  if (threadIdx.y != 0 || column >= columns) return;
  if (column < partials.weights) {
    gradients.weights[column] = sum;
  } else {
    gradients.biases[column - partials.weights] = sum;
  }
}

unsigned groups_of(const Geometry& g) {
  return static_cast<unsigned>(ceil_div(g.out, kGroup));
}

std::int64_t partials_of(std::int64_t batch) {
  return std::min(batch, kMaxPartials);
}

// Those of `layer` in the model's whole block.
template <typename Float>
ConvolutionParameters<Float> parameters_of(const Conv2d& layer, Float* block) {
  return {block + layer.weights.offset, block + layer.biases.offset};
}

// Whether the kGroup channels of a pixel can be accessed as one vector.
bool are_wide(const TensorView& pooled, const std::uint8_t* chosen) {
  return pooled.layout == Layout::kNhwc && pooled.channels % kGroup == 0 && is_aligned(pooled.data) &&
         is_aligned(chosen);
}

}  // namespace

bool has_direct_convolution(const Conv2d& layer, const MaxPool2d& pool) {
  const Window& filter = layer.window;
  const Window& window = pool.window;
  return layer.input.channels <= kMaxChannels && filter.stride == 1 && filter.height <= kMaxKernel &&
         filter.width <= kMaxKernel && window.height == 2 && window.width == 2 && window.stride == 2 &&
         pool.input == layer.output && pool.output.height >= 1 && pool.output.width >= 1;
}

void direct_convolution_forward(cudaStream_t stream, const Conv2d& layer, const DirectConvolutionForward& pass) {
  const TensorView& y = pass.y;
  const Geometry g(layer, y);
  const dim3 grid(static_cast<unsigned>(g.tiles), groups_of(g),
                  static_cast<unsigned>(std::min<std::int64_t>(y.batch, kMaxImageBlocks)));
  const dim3 block(static_cast<unsigned>(ceil_div(g.rows * g.columns, kWarp) * kWarp));
  const ConvolutionParameters<const float> parameters = parameters_of(layer, pass.parameters);
  with_types(pass.x.type, y.type, [&]<typename X, typename Y>() {
    const PooledTensor<Y, std::uint8_t> output{Tensor<Y>(y), pass.chosen, are_wide(y, pass.chosen)};
    launch(stream, grid, block, direct_forward_kernel<X, Y>, g, parameters, Tensor<X>(pass.x), output);
  });
}

std::int64_t direct_convolution_workspace_bytes(const Conv2d& layer, std::int64_t batch) {
  return partials_of(batch) * (layer.weights.size + layer.biases.size) * std::int64_t{sizeof(float)};
}

void direct_convolution_backward(cudaStream_t stream, const Conv2d& layer, const DirectConvolutionBackward& pass) {
  const TensorView& dy = pass.dy;
  const Geometry g(layer, dy);
  const auto rows = static_cast<std::int32_t>(partials_of(dy.batch));
  with_types(pass.x.type, dy.type, [&]<typename X, typename Dy>() {
    const PooledTensor<Dy, const std::uint8_t> gradient{Tensor<Dy>(dy), pass.chosen, are_wide(dy, pass.chosen)};
    launch(stream, dim3(static_cast<unsigned>(rows), groups_of(g)), dim3(kTilePixels), direct_backward_kernel<X, Dy>, g,
           Tensor<X>(pass.x), gradient, pass.workspace);
  });
  const Partials partials{pass.workspace, rows, static_cast<std::int32_t>(layer.weights.size),
                          static_cast<std::int32_t>(layer.biases.size)};
  const Spread spread = spread_over_columns(layer.weights.size + layer.biases.size);
  launch(stream, spread.grid, spread.block, sum_partials_kernel, partials, parameters_of(layer, pass.gradients));
}

}  // namespace distmnist::cuda
