// Picture: decoded pictures, and operations on whole pictures.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace distmnist {

// Row by row, four bytes per pixel: red, green, blue and alpha (0 transparent .. 255 opaque), not premultiplied.
struct Picture {
  std::int64_t height = 0, width = 0;  // each at least 1
  std::vector<std::uint8_t> rgba;      // [height, width, 4]
};

// In pixels; bottom and right are exclusive.
struct Box {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;

  std::int64_t height() const { return bottom - top; }
  std::int64_t width() const { return right - left; }
  bool operator==(const Box&) const = default;

  // An empty box, ready for include(), for a picture of this size.
  static Box none(std::int64_t height, std::int64_t width) { return {height, width, 0, 0}; }
  void include(std::int64_t y, std::int64_t x) {
    *this = {std::min(top, y), std::min(left, x), std::max(bottom, y + 1), std::max(right, x + 1)};
  }
};

// The part of a picture inside `box`, where each output pixel is the mean of `factor` x `factor` pixels (fewer at the
// right and bottom), with colours weighted by alpha. `box` must be inside the picture and not empty; factor must be at
// least 1.
Picture reduce(const Picture& picture, const Box& box, std::int64_t factor);

// Each 0 .. 255.
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

// Removes transparency. If the opaque area has the shape of a sheet with something on it, the background becomes the
// sheet's colour. Otherwise the shape itself is the picture, white on black, whatever its colours. Nothing if all of it
// is transparent.
std::optional<OpaquePicture> flatten(const Picture& picture);

// The median of each channel.
Colour median_colour(std::vector<Colour> colours);

}  // namespace distmnist
