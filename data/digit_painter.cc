#include "data/digit_painter.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <vector>

#include "data/digit_shapes.h"

namespace distmnist {
namespace {

constexpr int kNumPixels = kDigitSide * kDigitSide;
constexpr float kHeight = 19.0f;  // in pixels, of a digit with scale 1

float between(Random& random, float low, float high) {
  return low + (high - low) * random.uniform();
}

// Roughly normal around 0 with this standard deviation, and at most 3.5 times as large: the sum of four uniform 16-bit
// numbers.
float around_zero(Random& random, float deviation) {
  std::uint64_t bits = random.next(), sum = 0;
  for (; bits != 0; bits >>= 16) sum += bits & 0xffff;
  return (static_cast<float>(sum) * 0x1p-16f - 2.0f) * 1.7320508f * deviation;
}

// How a digit is distorted and placed: first the bends in its unit square, then a linear map to pixels.
class Placement {
 public:
  explicit Placement(Random& random) {
    for (float& bend : bends_) bend = around_zero(random, 0.11f);
    const float tan_half_angle = around_zero(random, 0.07f);  // makes sine and cosine rational
    const float cosine = (1 - tan_half_angle * tan_half_angle) / (1 + tan_half_angle * tan_half_angle);
    const float sine = 2 * tan_half_angle / (1 + tan_half_angle * tan_half_angle);
    const float height = kHeight * between(random, 0.78f, 1.08f);
    const float width = height * between(random, 0.62f, 1.0f);
    const float slant = 0.12f + around_zero(random, 0.2f);
    xx_ = width * cosine;
    xy_ = -height * (slant * cosine + sine);
    yx_ = width * sine;
    yy_ = height * (cosine - slant * sine);
  }

  Point operator()(Point p) const {
    const float x = p.x - 0.5f, y = p.y - 0.5f;
    // A parabola and a twist in each direction. The map is continuous, so strokes stay connected.
    const float u = x + bends_[0] * (4 * y * y - 0.5f) + bends_[1] * (4 * x * y) + bends_[2] * (8 * y * y * y - y);
    const float v = y + bends_[3] * (4 * x * x - 0.5f) + bends_[4] * (4 * x * y);
    return {xx_ * u + xy_ * v, yx_ * u + yy_ * v};
  }

 private:
  std::array<float, 5> bends_;
  float xx_, xy_, yx_, yy_;
};

// The strokes of one digit, in pixels relative to (0, 0).
std::vector<Stroke> random_strokes(int digit, Random& random) {
  const auto shapes = digit_shapes(digit);
  const Shape& shape = shapes[random.below(shapes.size())];
  const Placement place(random);
  std::vector<Stroke> strokes;
  for (const Stroke& points : shape) {
    Stroke moved;
    for (const Point point : points) {
      const Point trembling = {point.x + around_zero(random, 0.032f), point.y + around_zero(random, 0.032f)};
      moved.push_back(place(trembling));
    }
    strokes.push_back(smooth(moved));
  }
  return strokes;
}

// The centre of mass of the ink, where MNIST centres its digits.
Point centre_of(const std::vector<Stroke>& strokes) {
  Point sum;
  float total = 0;
  for (const Stroke& stroke : strokes) {
    for (std::size_t i = 0; i + 1 < stroke.size(); ++i) {
      const Point a = stroke[i], b = stroke[i + 1];
      const float length = std::sqrt((b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y));
      sum = {sum.x + length * (a.x + b.x) / 2, sum.y + length * (a.y + b.y) / 2};
      total += length;
    }
  }
  return {sum.x / total, sum.y / total};
}

// The squared distance from each pixel centre to the nearest stroke, if it is below `reach`.
class DistanceMap {
 public:
  explicit DistanceMap(float reach) : reach_(reach) { squares_.fill(reach * reach); }

  void add_line(Point a, Point b) {
    const auto first = [&](float p, float q) { return std::max(0, static_cast<int>(std::min(p, q) - reach_)); };
    const auto last = [&](float p, float q) {
      return std::min(kDigitSide - 1, static_cast<int>(std::max(p, q) + reach_));
    };
    const Point along = {b.x - a.x, b.y - a.y};
    const float length_square = std::max(along.x * along.x + along.y * along.y, 1e-12f);
    for (int y = first(a.y, b.y); y <= last(a.y, b.y); ++y) {
      for (int x = first(a.x, b.x); x <= last(a.x, b.x); ++x) {
        const Point to_pixel = {static_cast<float>(x) - a.x, static_cast<float>(y) - a.y};
        const float t = std::clamp((to_pixel.x * along.x + to_pixel.y * along.y) / length_square, 0.0f, 1.0f);
        const float dx = to_pixel.x - t * along.x, dy = to_pixel.y - t * along.y;
        float& square = squares_[static_cast<std::size_t>(y * kDigitSide + x)];
        square = std::min(square, dx * dx + dy * dy);
      }
    }
  }

  float distance(int pixel) const { return std::sqrt(squares_[static_cast<std::size_t>(pixel)]); }

 private:
  float reach_;
  std::array<float, kNumPixels> squares_;
};

struct Pen {
  float radius;  // in pixels
  float blur;    // width of the blurred edge, in pixels
  float ink;     // 0 .. 1
  float noise;   // standard deviation, 0 .. 1
};

Pen random_pen(Random& random) {
  return {.radius = between(random, 0.75f, 1.75f),
          .blur = between(random, 0.9f, 1.9f),
          .ink = between(random, 0.8f, 1.0f),
          .noise = between(random, 0.0f, 0.06f)};
}

// The noise is shifted down by its deviation, so that most of the paper stays pure black, as in MNIST.
std::uint8_t pixel_value(const Pen& pen, float distance, Random& random) {
  const float cover = std::clamp((pen.radius - distance) / pen.blur + 0.5f, 0.0f, 1.0f);
  const float value = pen.ink * cover + around_zero(random, pen.noise) - pen.noise;
  return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 1.0f) * 255.0f + 0.5f);
}

}  // namespace

void paint_digit(int digit, Random random, std::span<std::uint8_t> pixels) {
  assert(pixels.size() == kNumPixels);
  const std::vector<Stroke> strokes = random_strokes(digit, random);
  const Pen pen = random_pen(random);
  const Point centre = centre_of(strokes);
  constexpr float kMiddle = (kDigitSide - 1) / 2.0f;
  const Point shift = {kMiddle - centre.x + around_zero(random, 1.2f), kMiddle - centre.y + around_zero(random, 1.2f)};
  DistanceMap distances(pen.radius + pen.blur);
  for (const Stroke& stroke : strokes) {
    for (std::size_t i = 0; i + 1 < stroke.size(); ++i) {
      const Point a = stroke[i], b = stroke[i + 1];
      distances.add_line({a.x + shift.x, a.y + shift.y}, {b.x + shift.x, b.y + shift.y});
    }
  }
  for (int i = 0; i < kNumPixels; ++i) {
    pixels[static_cast<std::size_t>(i)] = pixel_value(pen, distances.distance(i), random);
  }
}

}  // namespace distmnist
