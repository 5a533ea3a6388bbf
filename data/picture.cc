#include "data/picture.h"

#include <algorithm>
#include <cmath>

namespace distmnist {
namespace {

constexpr float kOpaqueSheetFill =
    0.7f;                              // minimum fraction of its box for a sheet; a digit covers less, except a bold 1
constexpr float kOtherColour = 64.0f;  // minimum colour distance from the sheet of what is on it
constexpr float kLeastPrinted = 0.003f;  // minimum fraction of the sheet for it to have something on it

std::size_t index_of(const Picture& picture, std::int64_t y, std::int64_t x) {
  return 4 * static_cast<std::size_t>(y * picture.width + x);
}

void put_mean(const Picture& picture, const Box& box, std::uint8_t* out) {
  std::int64_t sums[3] = {0, 0, 0}, alphas = 0;
  for (std::int64_t y = box.top; y < box.bottom; ++y) {
    for (std::int64_t x = box.left; x < box.right; ++x) {
      const std::uint8_t* pixel = &picture.rgba[index_of(picture, y, x)];
      for (int c = 0; c < 3; ++c) sums[c] += pixel[c] * pixel[3];
      alphas += pixel[3];
    }
  }
  const std::int64_t area = box.height() * box.width();
  for (int c = 0; c < 3; ++c) {
    out[c] = alphas == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>((sums[c] + alphas / 2) / alphas);
  }
  out[3] = static_cast<std::uint8_t>((alphas + area / 2) / area);
}

// Statistics of a picture's alpha channel.
struct Opacity {
  int lowest = 255, highest = 0;
  Box solid;                    // box of the pixels at least half as opaque as the most opaque one
  std::vector<Colour> colours;  // of those pixels
};

bool is_solid(int alpha, int highest) {
  return 2 * alpha >= highest;
}

Opacity opacity_of(const Picture& picture) {
  Opacity opacity;
  for (std::size_t i = 3; i < picture.rgba.size(); i += 4) {
    opacity.lowest = std::min<int>(opacity.lowest, picture.rgba[i]);
    opacity.highest = std::max<int>(opacity.highest, picture.rgba[i]);
  }
  if (opacity.lowest == opacity.highest) return opacity;
  opacity.solid = Box::none(picture.height, picture.width);
  for (std::int64_t y = 0; y < picture.height; ++y) {
    for (std::int64_t x = 0; x < picture.width; ++x) {
      const std::uint8_t* pixel = &picture.rgba[index_of(picture, y, x)];
      if (!is_solid(pixel[3], opacity.highest)) continue;
      opacity.solid.include(y, x);
      opacity.colours.push_back({float(pixel[0]), float(pixel[1]), float(pixel[2])});
    }
  }
  return opacity;
}

bool is_printed_sheet(const Opacity& opacity, Colour sheet) {
  const auto solid = static_cast<float>(opacity.colours.size());
  if (solid < kOpaqueSheetFill * static_cast<float>(opacity.solid.height() * opacity.solid.width())) return false;
  const auto others =
      std::ranges::count_if(opacity.colours, [&](Colour c) { return length(c - sheet) > kOtherColour; });
  return static_cast<float>(others) > kLeastPrinted * solid;
}

}  // namespace

float length(Colour a) {
  return std::sqrt(dot(a, a));
}

Picture reduce(const Picture& picture, const Box& box, std::int64_t factor) {
  Picture out{(box.height() + factor - 1) / factor, (box.width() + factor - 1) / factor, {}};
  out.rgba.resize(static_cast<std::size_t>(4 * out.height * out.width));
  for (std::int64_t y = 0; y < out.height; ++y) {
    for (std::int64_t x = 0; x < out.width; ++x) {
      const std::int64_t top = box.top + y * factor, left = box.left + x * factor;
      const Box part{top, left, std::min(top + factor, box.bottom), std::min(left + factor, box.right)};
      put_mean(picture, part, &out.rgba[index_of(out, y, x)]);
    }
  }
  return out;
}

std::optional<OpaquePicture> flatten(const Picture& picture) {
  const Opacity opacity = opacity_of(picture);
  if (opacity.highest == 0) return std::nullopt;
  const bool opaque = opacity.lowest == opacity.highest;
  const Colour sheet = opaque ? Colour{} : median_colour(opacity.colours);
  const bool by_colour = opaque || is_printed_sheet(opacity, sheet);
  OpaquePicture out{picture.height, picture.width, {}};
  out.pixels.reserve(picture.rgba.size() / 4);
  for (std::size_t i = 0; i < picture.rgba.size(); i += 4) {
    const std::uint8_t* pixel = &picture.rgba[i];
    const Colour colour{float(pixel[0]), float(pixel[1]), float(pixel[2])};
    const float alpha = float(pixel[3]) / float(opacity.highest);
    out.pixels.push_back(by_colour ? alpha * colour + (1 - alpha) * sheet
                                   : Colour{255 * alpha, 255 * alpha, 255 * alpha});
  }
  return out;
}

Colour median_colour(std::vector<Colour> colours) {
  if (colours.empty()) return {};
  const auto middle = colours.begin() + static_cast<std::ptrdiff_t>(colours.size() / 2);
  Colour median;
  for (float Colour::*channel : {&Colour::red, &Colour::green, &Colour::blue}) {
    std::ranges::nth_element(colours, middle, {}, channel);
    median.*channel = (*middle).*channel;
  }
  return median;
}

}  // namespace distmnist
