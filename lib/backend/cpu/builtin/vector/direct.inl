// Direct convolution for one input channel. The pixels of a pool window are computed together, for two vectors of
// output channels at a time: 8 multiply-adds for 2 + 4 operands.

// The pixels of an image with its borders, from one on.
struct Pixels {
  const float* first;
  std::ptrdiff_t image_row;  // floats between two rows
};

// Adds to sums[2 vectors of channels][4 pixels] those of one window. kWidth is the window's width; 0 means the width in
// the shape.
template <int kWidth>
inline void window_sums(const ConvolutionShape& s, const Pixels& corner, const float* weights, Vec (&sums)[2][4]) {
  const std::int64_t width = kWidth > 0 ? kWidth : s.window_width;
  const std::ptrdiff_t image_row = corner.image_row;
  for (std::int64_t ky = 0; ky < s.window_height; ++ky) {
    const float* pixels = corner.first + ky * image_row;
#pragma GCC unroll 5
    for (std::int64_t kx = 0; kx < width; ++kx, ++pixels, weights += s.out) {
      const Vec w0 = load(weights), w1 = load(weights + kLanes);
      const float window[4] = {pixels[0], pixels[1], pixels[image_row], pixels[image_row + 1]};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        sums[0][i] += splat(window[i]) * w0;
        sums[1][i] += splat(window[i]) * w1;
      }
    }
  }
}

void direct_forward(const DirectForward& p) {
  const ConvolutionShape& s = p.shape;
  const std::ptrdiff_t image_row = s.width + s.window_width - 1;
  for (std::int64_t y = 0; y < s.height; y += 2) {
    for (std::int64_t x = 0; x < s.width; x += 2) {
      const Pixels corner{p.image + y * image_row + x, image_row};
      const std::ptrdiff_t at = (y / 2 * (s.width / 2) + x / 2) * s.out;
      for (std::int64_t c = 0; c < s.out; c += 2 * kLanes) {
        Vec sums[2][4] = {};
        if (s.window_width == 5) {
          window_sums<5>(s, corner, p.weights + c, sums);
        } else {
          window_sums<0>(s, corner, p.weights + c, sums);
        }
        pool(sums[0], load(p.biases + c), p.pooled.values + at + c, p.pooled.choices + at + c);
        pool(sums[1], load(p.biases + c + kLanes), p.pooled.values + at + c + kLanes,
             p.pooled.choices + at + c + kLanes);
      }
    }
  }
}

// kTaps adjacent taps of one row of the window, for two vectors of channels, over two rows of pixels.
template <int kTaps>
inline void tap_sums(const ConvolutionShape& s, const Pixels& from, const float* gradient, float* sums) {
  const float* const pixels = from.first;
  const std::ptrdiff_t image_row = from.image_row;
  Vec totals[kTaps][2];
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    totals[t][0] = load(sums + t * s.out);
    totals[t][1] = load(sums + t * s.out + kLanes);
  }
  for (int row = 0; row < 2; ++row) {
    for (std::int64_t x = 0; x < s.width; ++x, gradient += s.out) {
      const Vec g0 = load(gradient), g1 = load(gradient + kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < kTaps; ++t) {
        const Vec pixel = splat(pixels[row * image_row + x + t]);
        totals[t][0] += pixel * g0;
        totals[t][1] += pixel * g1;
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    store(sums + t * s.out, totals[t][0]);
    store(sums + t * s.out + kLanes, totals[t][1]);
  }
}

// Two rows of pixels at a time: their gradients are expanded in the L1 cache, then each tap sums its products.
void direct_backward(const DirectBackward& p) {
  const ConvolutionShape& s = p.shape;
  const std::ptrdiff_t image_row = s.width + s.window_width - 1;
  for (std::int64_t y = 0; y < s.height; y += 2) {
    for (std::int64_t x = 0; x < s.width; x += 2) {
      const std::ptrdiff_t at = (y / 2 * (s.width / 2) + x / 2) * s.out;
      for (std::int64_t c = 0; c < s.out; c += kLanes) {
        Vec window[4];
        const Vec passed = unpool(p.gradient.values + at + c, p.gradient.choices + at + c, window);
        store(p.bias_sums + c, load(p.bias_sums + c) + passed);
        for (int i = 0; i < 4; ++i) store(p.scratch + ((i / 2) * s.width + x + i % 2) * s.out + c, window[i]);
      }
    }
    for (std::int64_t ky = 0; ky < s.window_height; ++ky) {
      const float* pixels = p.image + (y + ky) * image_row;
      for (std::int64_t c = 0; c < s.out; c += 2 * kLanes) {
        float* sums = p.weight_sums + ky * s.window_width * s.out + c;
        std::int64_t kx = 0;
        for (; kx + 5 <= s.window_width; kx += 5) {
          tap_sums<5>(s, {pixels + kx, image_row}, p.scratch + c, sums + kx * s.out);
        }
        for (; kx < s.window_width; ++kx) tap_sums<1>(s, {pixels + kx, image_row}, p.scratch + c, sums + kx * s.out);
      }
    }
  }
}
