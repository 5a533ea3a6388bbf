// Pictures as files hold them, and what is done to whole pictures.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace distmnist {

// Row by row, four bytes a pixel: red, green, blue, and alpha (0 transparent .. 255 opaque), which the colours are not
// multiplied with.
struct Picture {
  std::int64_t height = 0, width = 0;  // at least 1 each
  std::vector<std::uint8_t> rgba;      // [height, width, 4]
};

// Pixels, the ends not included.
struct Box {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;

  std::int64_t height() const { return bottom - top; }
  std::int64_t width() const { return right - left; }
  bool operator==(const Box&) const = default;

  // Around nothing yet, of a picture of this size.
  static Box none(std::int64_t height, std::int64_t width) { return {height, width, 0, 0}; }
  void include(std::int64_t y, std::int64_t x) {
    *this = {std::min(top, y), std::min(left, x), std::max(bottom, y + 1), std::max(right, x + 1)};
  }
};

// The part of a picture that lies in `box`, each pixel the mean of `factor` x `factor` pixels (of fewer at the right
// and at the bottom), colours weighted with their alpha. `box` lies in the picture and is not empty; factor 1 or more.
Picture reduce(const Picture& picture, const Box& box, std::int64_t factor);

// 0 .. 255 each.
struct Colour {
  float red = 0, green = 0, blue = 0;
};
inline Colour operator+(Colour a, Colour b) {
  return {a.red + b.red, a.green + b.green, a.blue + b.blue};
}
inline Colour operator-(Colour a, Colour b) {
  return {a.red - b.red, a.green - b.green, a.blue - b.blue};
}
inline Colour operator*(float factor, Colour a) {
  return {factor * a.red, factor * a.green, factor * a.blue};
}
inline float dot(Colour a, Colour b) {
  return a.red * b.red + a.green * b.green + a.blue * b.blue;
}
float length(Colour a);

// A picture without transparency.
struct OpaquePicture {
  std::int64_t height = 0, width = 0;
  std::vector<Colour> pixels;  // [height, width]

  Colour& at(std::int64_t y, std::int64_t x) { return pixels[static_cast<std::size_t>(y * width + x)]; }
  const Colour& at(std::int64_t y, std::int64_t x) const { return pixels[static_cast<std::size_t>(y * width + x)]; }
};

// What is to be seen of a picture, on whatever it may lie. Where what is opaque has the shape of a sheet with something
// on it, it lies on a sheet of the same colour; else the shape itself is the picture, white on black, whatever its
// colours. Nothing where all of it is transparent.
std::optional<OpaquePicture> flatten(const Picture& picture);

// Each channel's median.
Colour median_colour(std::vector<Colour> colours);

}  // namespace distmnist
