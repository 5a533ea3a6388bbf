#include "data/normalized_digit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Digit = std::vector<std::uint8_t>;
using Rgba = std::array<int, 4>;

// A 7 made of strokes with soft edges, in a 1 x 1 box: the ink coverage of the point (v, u).
double seven(double v, double u) {
  if (v < 0 || v > 1 || u < 0 || u > 1) return 0;
  const double off_bar = v / 0.15, off_stem = std::abs(u - (0.95 - 0.6 * v)) / 0.1;
  return std::clamp(3 - 2.5 * std::min(off_bar, off_stem), 0.0, 1.0);
}

// Paper of height x width pixels with a seven, whose box is at (top, left), `tall` pixels high and 3/4 as wide.
struct Scene {
  std::int64_t height = 120, width = 120, top = 20, left = 30, tall = 80;
  Rgba paper = {255, 255, 255, 255}, ink = {0, 0, 0, 255};
};

Picture draw(const Scene& scene) {
  Picture picture{scene.height, scene.width, {}};
  for (std::int64_t y = 0; y < scene.height; ++y) {
    for (std::int64_t x = 0; x < scene.width; ++x) {
      const double v = (static_cast<double>(y - scene.top) + 0.5) / static_cast<double>(scene.tall);
      const double u = (static_cast<double>(x - scene.left) + 0.5) / (0.75 * static_cast<double>(scene.tall));
      const double cover = seven(v, u);
      for (std::size_t c = 0; c < 4; ++c)
        picture.rgba.push_back(
            static_cast<std::uint8_t>(std::lround(scene.paper[c] + cover * (scene.ink[c] - scene.paper[c]))));
    }
  }
  return picture;
}

void change(Picture& picture, const std::function<int(std::int64_t y, std::int64_t x, int value)>& to) {
  for (std::size_t i = 0; i < picture.rgba.size(); ++i) {
    if (i % 4 == 3) continue;
    const auto pixel = static_cast<std::int64_t>(i / 4);
    const int value = to(pixel / picture.width, pixel % picture.width, picture.rgba[i]);
    picture.rgba[i] = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
  }
}

Digit digit_of(const Picture& picture) {
  const auto digit = normalize_digit(picture);
  REQUIRE(digit);
  return *digit;
}

// The mean difference of two digits' pixels, from 0 to 255.
double difference(const Digit& a, const Digit& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(int{a[i]} - int{b[i]});
  return sum / static_cast<double>(a.size());
}

// A digit differs from an empty image by about 30 of 255, and from its own inverse by more.
constexpr double kSame = 4.0;

const Digit& expected() {
  static const Digit digit = digit_of(draw({}));
  return digit;
}

Picture grey_picture(const Digit& pixels) {
  Picture picture{kDigitSide, kDigitSide, {}};
  for (const std::uint8_t value : pixels) picture.rgba.insert(picture.rgba.end(), {value, value, value, 255});
  return picture;
}

TEST_CASE("a digit is 20 pixels long, with its centre of mass in the middle") {
  const Digit& digit = expected();
  std::int64_t top = kDigitSide, bottom = 0;
  double mass = 0, y_mass = 0, x_mass = 0;
  for (std::int64_t y = 0; y < kDigitSide; ++y) {
    for (std::int64_t x = 0; x < kDigitSide; ++x) {
      const std::uint8_t value = digit[static_cast<std::size_t>(y * kDigitSide + x)];
      if (value == 0) continue;
      top = std::min(top, y);
      bottom = std::max(bottom, y + 1);
      mass += value;
      y_mass += static_cast<double>(value) * static_cast<double>(y);
      x_mass += static_cast<double>(value) * static_cast<double>(x);
    }
  }
  CHECK(bottom - top == 20);
  CHECK(std::abs(y_mass / mass - 14) <= 0.5);
  CHECK(std::abs(x_mass / mass - 14) <= 0.5);
  CHECK(*std::ranges::max_element(digit) == 255);
}

TEST_CASE("a digit that already has MNIST's form is not changed") {
  CHECK(difference(digit_of(grey_picture(expected())), expected()) < 0.5);
}

TEST_CASE("size and position do not matter") {
  for (const Scene& scene : {Scene{80, 60, 0, 0, 80}, Scene{300, 300, 230, 250, 60}, Scene{1200, 900, 40, 700, 60},
                             Scene{60, 900, 5, 400, 50}, Scene{2000, 1500, 300, 200, 1400}}) {
    INFO(scene.height << " x " << scene.width << ", " << scene.tall << " tall");
    CHECK(difference(digit_of(draw(scene)), expected()) < kSame);
  }
}

TEST_CASE("ink is what differs from the paper: darker, brighter, paler or in a different colour") {
  const std::array<std::pair<Rgba, Rgba>, 6> pairs = {{{{0, 0, 0, 255}, {255, 255, 255, 255}},
                                                       {{140, 140, 140, 255}, {120, 120, 120, 255}},
                                                       {{240, 220, 150, 255}, {60, 40, 120, 255}},
                                                       {{90, 140, 90, 255}, {200, 90, 76, 255}},
                                                       {{30, 70, 60, 255}, {220, 225, 215, 255}},
                                                       {{255, 255, 255, 255}, {255, 255, 120, 255}}}};
  for (const auto& [paper, ink] : pairs) {
    Scene scene;
    scene.paper = paper;
    scene.ink = ink;
    INFO(paper[0] << " " << ink[0]);
    CHECK(difference(digit_of(draw(scene)), expected()) < kSame);
  }
}

TEST_CASE("on a transparent background the shape is the digit, whatever its colour") {
  for (const int grey : {0, 255, 130}) {
    Scene scene;
    scene.paper = {77, 0, 200, 0};  // hidden by the transparency
    scene.ink = {grey, grey, grey, 255};
    Picture picture = draw(scene);
    for (std::size_t i = 0; i < picture.rgba.size(); i += 4)
      std::fill_n(picture.rgba.begin() + i, 3, std::uint8_t(grey));
    CHECK(difference(digit_of(picture), expected()) < kSame);
  }
}

TEST_CASE("a printed sheet on a transparent background is read like paper") {
  Picture picture = draw({});
  for (std::int64_t y = 0; y < picture.height; ++y) {
    for (std::int64_t x = 0; x < picture.width; ++x) {
      if (std::min({y, x, picture.height - 1 - y, picture.width - 1 - x}) < 9)
        picture.rgba[static_cast<std::size_t>(4 * (y * picture.width + x) + 3)] = 0;
    }
  }
  CHECK(difference(digit_of(picture), expected()) < kSame);
}

TEST_CASE("uneven light, noise, specks, frames, ruled lines and a table are ignored") {
  Picture picture = draw({});
  double limit = kSame;
  const auto border = [&](std::int64_t y, std::int64_t x) {
    return std::min({y, x, picture.height - 1 - y, picture.width - 1 - x});
  };
  SECTION("light from one side") {
    change(picture, [](std::int64_t, std::int64_t x, int value) { return value * static_cast<int>(100 + x) / 220; });
  }
  SECTION("noise") {
    std::uint32_t state = 1;
    change(picture, [&](std::int64_t, std::int64_t, int value) {
      state = state * 1664525u + 1013904223u;
      return value * 3 / 4 + 30 + static_cast<int>(state >> 27) - 16;
    });
  }
  SECTION("specks") {
    change(picture,
           [](std::int64_t y, std::int64_t x, int value) { return (y * 131 + x * 37) % 401 == 0 ? 0 : value; });
  }
  SECTION("a frame at the border") {
    change(picture, [&](std::int64_t y, std::int64_t x, int value) { return border(y, x) < 5 ? 20 : value; });
  }
  SECTION("a frame inside") {
    change(picture, [&](std::int64_t y, std::int64_t x, int value) { return border(y, x) / 2 == 4 ? 0 : value; });
  }
  SECTION("a line along one side") {
    change(picture, [](std::int64_t y, std::int64_t, int value) { return y < 4 ? 0 : value; });
  }
  SECTION("ruled paper") {
    limit = 8;  // where ruled lines meet the digit, they are taken for its soft edges
    change(picture, [](std::int64_t y, std::int64_t, int value) { return y % 15 == 7 ? std::min(value, 195) : value; });
  }
  SECTION("a table") {
    change(picture, [&](std::int64_t y, std::int64_t x, int value) {
      return border(y, x) < 14 + static_cast<std::int64_t>(x) / 30 ? 90 : value;
    });
  }
  CHECK(difference(digit_of(picture), expected()) < limit);
}

TEST_CASE("a blank picture contains no digit") {
  const auto blank = [](std::int64_t height, std::int64_t width,
                        const std::function<int(std::int64_t, std::int64_t)>& value) {
    Picture picture{height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(4 * height * width), 255)};
    change(picture, [&](std::int64_t y, std::int64_t x, int) { return value(y, x); });
    return !normalize_digit(picture);
  };
  CHECK(blank(1, 1, [](auto, auto) { return 9; }));
  CHECK(blank(1, 2, [](auto, auto x) { return static_cast<int>(255 * x); }));
  CHECK(blank(700, 1, [](auto, auto) { return 255; }));
  CHECK(blank(60, 60, [](auto y, auto x) { return static_cast<int>(40 + 2 * y + x); }));
  CHECK(blank(60, 60, [](auto y, auto x) { return std::min({y, x, 59 - y, 59 - x}) < 4 ? 0 : 255; }));
  CHECK(blank(60, 60, [](auto y, auto x) { return y == 20 && x == 20 ? 0 : 255; }));
  std::uint32_t state = 1;
  CHECK(blank(60, 60, [&](auto, auto) {
    state = state * 1664525u + 1013904223u;
    return 100 + static_cast<int>(state >> 27);
  }));
  CHECK_FALSE(normalize_digit(Picture{2, 2, std::vector<std::uint8_t>(16, 0)}));  // transparent
}

TEST_CASE("pictures of any size and aspect ratio are accepted") {
  for (std::int64_t height : {1, 2, 3, 5, 27, 1000}) {
    for (std::int64_t width : {1, 2, 4, 9, 700}) {
      Picture picture{height, width, {}};
      for (std::int64_t i = 0; i < 4 * height * width; ++i)
        picture.rgba.push_back(static_cast<std::uint8_t>(i * i * 7 % 256));
      const auto digit = normalize_digit(picture);
      if (digit) CHECK(digit->size() == 784);
    }
  }
}

TEST_CASE("raw pixels keep their grey values, and transparent pixels are 0") {
  Picture picture{kDigitSide, kDigitSide, std::vector<std::uint8_t>(4 * 784, 0)};
  for (std::size_t i = 0; i < 256; ++i) std::fill_n(picture.rgba.begin() + 4 * i, 3, static_cast<std::uint8_t>(i));
  for (std::size_t i = 3; i < picture.rgba.size(); i += 4) picture.rgba[i] = 255;
  Digit digit = raw_digit(picture);
  for (std::size_t i = 0; i < 256; ++i) CHECK(digit[i] == i);
  picture.rgba[4 * 200 + 3] = 0;
  CHECK(raw_digit(picture)[200] == 0);
}

}  // namespace
}  // namespace distmnist
