// Shared by the convolutions: rounded images, bias, ReLU and max-pool of finished sums, and the backward pass.

// Two sums' rows of pixels, [2][columns][16 channels], that wait to be pooled.
struct Sums {
  const float* sums;
  std::int64_t columns;
  const float* biases;
  Pooled to;                // the first pixel's first channel
  std::ptrdiff_t to_pixel;  // numbers between two pixels
};

// Pools pixel by pixel, so that a caller can do it between products. Limit: 4 loads, 3 comparisons and a store for 16
// numbers.
template <int kPlanes>
class Pooler {
 public:
  void start(const Sums& sums) {
    waiting_ = sums;
    pixel_ = 0;
  }
  void step() {
    if (pixel_ >= waiting_.columns / 2) return;
    const float* const upper = waiting_.sums + 2 * pixel_ * kLanes;
    const float* const lower = upper + waiting_.columns * kLanes;
    const std::ptrdiff_t at = pixel_ * waiting_.to_pixel;
    float values[kLanes];
    pool({load(upper), load(upper + kLanes), load(lower), load(lower + kLanes)}, load(waiting_.biases), values,
         waiting_.to.choices + at);
    const Vec pooled = load(values);
    store(waiting_.to.values + at, kPlanes == kRounded ? as_floats(first_half(rounded(pooled, pooled))) : pooled);
    ++pixel_;
  }
  void finish() {
    while (pixel_ < waiting_.columns / 2) step();
  }

 private:
  Sums waiting_ = {};
  std::int64_t pixel_ = 0;
};

// The rounded gradients of a window's four pixels, for 16 channels and one plane.
struct PooledVec {
  Ints bits;  // of the rounded gradient, as floats
  Ints choices;
  // Two pixels of the window, `first` and the next, as 16 pairs.
  PairVec pair(int first) const {
    const Ints in_low = reinterpret_cast<Ints>(reinterpret_cast<PairVec>(bits) >> 16) & (choices == first);
    return reinterpret_cast<PairVec>(in_low | (bits & (choices == first + 1)));
  }
  // One pixel of it.
  Shorts pixel(int i) const {
    return __builtin_convertvector(reinterpret_cast<PairVec>(bits & (choices == i)) >> 16, Shorts);
  }
};
inline PooledVec rounded_gradient(Vec gradient, Ints choices) {
  const PairVec halves = reinterpret_cast<PairVec>(paired(rounded(Vec{}, gradient)));
  return {reinterpret_cast<Ints>(halves), choices};
}
// Of plane 1: what rounding left.
inline PooledVec remainder(Vec gradient, const PooledVec& plane) {
  return rounded_gradient(gradient - reinterpret_cast<Vec>(plane.bits), plane.choices);
}
// What the bias gets of it.
template <int kPlanes>
inline Vec bias_gradient(Vec gradient, const PooledVec& plane) {
  return where(plane.choices != kNoneChosen, kPlanes == kRounded ? reinterpret_cast<Vec>(plane.bits) : gradient);
}

// Rounds a row of an image with one channel.
template <int kPlane>
inline void put_row(const float* from, std::int64_t width, Bf16* to) {
  if (width < kLanes) {
    for (std::int64_t x = 0; x < width; ++x) to[x] = halves_of<kPlane>(splat(from[x]), Vec{})[0];
    return;
  }
  for (std::int64_t x = 0; x < width; x += kLanes) {
    const std::int64_t at = x + kLanes <= width ? x : width - kLanes;
    store(to + at, first_half(halves_of<kPlane>(load(from + at), Vec{})));
  }
}
