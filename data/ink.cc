#include "data/ink.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/paper.h"

namespace distmnist {
namespace {

constexpr float kLeastContrast = 8.0f;  // colour distance; less is not visible
constexpr float kNoiseOfBlank = 5.0f;   // ink exceeds the paper's noise by this many standard deviations
constexpr std::size_t kStrongest = 12;  // this many pixels are as strong as the ink; fewer may be specks
constexpr float kCoherent = 0.65f;      // fraction of the border that must be paper to allow uneven paper
constexpr float kFaint = 0.25f;         // fraction of the ink's strength; less may be paper in different light

using Places = std::vector<std::int64_t>;

// The outermost pixels, to a depth of about 1 % of the picture's size.
Places border_of(const OpaquePicture& picture) {
  const std::int64_t depth = 1 + std::min(picture.height, picture.width) / 100;
  Places places;
  for (std::int64_t y = 0; y < picture.height; ++y) {
    const bool whole_row = y < depth || y >= picture.height - depth;
    for (std::int64_t x = 0; x < picture.width; ++x) {
      if (whole_row || x < depth || x >= picture.width - depth) places.push_back(y * picture.width + x);
    }
  }
  return places;
}

// The difference of each pixel from the paper.
std::vector<Colour> differences(const OpaquePicture& picture, const Paper& paper) {
  std::vector<Colour> out;
  out.reserve(picture.pixels.size());
  for (std::int64_t y = 0; y < picture.height; ++y) {
    for (std::int64_t x = 0; x < picture.width; ++x) out.push_back(picture.at(y, x) - paper.at(y, x));
  }
  return out;
}

// The length that only a few exceed.
float strength_of(const std::vector<Colour>& differences) {
  std::vector<float> lengths;
  lengths.reserve(differences.size());
  for (const Colour& difference : differences) lengths.push_back(length(difference));
  const std::size_t rank = std::min(kStrongest, (lengths.size() - 1) / 8);
  std::ranges::nth_element(lengths, lengths.begin() + static_cast<std::ptrdiff_t>(rank), std::greater{});
  return lengths[rank];
}

float share_near(const std::vector<Colour>& differences, const Places& places, float limit) {
  const auto near = std::ranges::count_if(
      places, [&](std::int64_t place) { return length(differences[static_cast<std::size_t>(place)]) < limit; });
  return static_cast<float>(near) / static_cast<float>(places.size());
}

// The colour of most of the border if both paper and ink are on it: splits the pixels into two clusters, by distance to
// the mean of each.
Paper paper_of_two_kinds(const OpaquePicture& picture, const Places& border) {
  Colour low = median_colour(picture.pixels), high = low;
  for (const Colour& colour : picture.pixels) high = length(colour - low) > length(high - low) ? colour : high;
  const auto is_high = [&](Colour colour) { return length(colour - high) < length(colour - low); };
  for (int round = 0; round < 10; ++round) {
    Colour sums[2];
    float counts[2] = {0, 0};
    for (const Colour& colour : picture.pixels) {
      const int kind = is_high(colour) ? 1 : 0;
      sums[kind] = sums[kind] + colour;
      counts[kind] += 1;
    }
    if (counts[0] > 0) low = (1 / counts[0]) * sums[0];
    if (counts[1] > 0) high = (1 / counts[1]) * sums[1];
  }
  const auto highs = std::ranges::count_if(
      border, [&](std::int64_t place) { return is_high(picture.pixels[static_cast<std::size_t>(place)]); });
  const bool paper_is_high = 2 * highs > static_cast<std::int64_t>(border.size());
  std::vector<Colour> colours;
  for (const Colour& colour : picture.pixels) {
    if (is_high(colour) == paper_is_high) colours.push_back(colour);
  }
  return Paper(median_colour(std::move(colours)));
}

// The median distance of these pixels from the paper.
float median_distance(const OpaquePicture& picture, const Paper& paper, const Places& places) {
  std::vector<float> lengths;
  for (const std::int64_t place : places) {
    lengths.push_back(length(picture.pixels[static_cast<std::size_t>(place)] -
                             paper.at(place / picture.width, place % picture.width)));
  }
  const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
  std::ranges::nth_element(lengths, middle);
  return *middle;
}

// Returns uniform paper if it fits the border equally well; uneven paper would bend towards ink that touches it.
Paper paper_of_border(const OpaquePicture& picture, const Places& border) {
  std::vector<Colour> colours;
  for (const std::int64_t place : border) colours.push_back(picture.pixels[static_cast<std::size_t>(place)]);
  const Paper even(median_colour(std::move(colours))), uneven = fit_paper(picture, border);
  return median_distance(picture, even, border) <= median_distance(picture, uneven, border) ? even : uneven;
}

Paper find_paper(const OpaquePicture& picture) {
  const Places border = border_of(picture);
  const Paper first = paper_of_border(picture, border);
  const std::vector<Colour> off = differences(picture, first);
  const float strength = strength_of(off), limit = kFaint * strength;
  if (strength < kLeastContrast) return first;
  if (share_near(off, border, limit) < kCoherent) return paper_of_two_kinds(picture, border);
  // The border says little about the middle.
  Places places;
  const std::size_t step = 1 + off.size() / 20000;
  for (std::size_t i = 0; i < off.size(); i += step) {
    if (length(off[i]) < limit) places.push_back(static_cast<std::int64_t>(i));
  }
  return fit_paper(picture, places);
}

// The direction of the strong differences.
Colour direction_of(const std::vector<Colour>& differences, float strength) {
  Colour axis;
  for (const Colour& difference : differences) axis = length(difference) > length(axis) ? difference : axis;
  for (int round = 0; round < 8; ++round) {
    Colour sum;
    for (const Colour& difference : differences) {
      const float size = length(difference);
      if (2 * size > strength) sum = sum + (dot(difference, axis) < 0 ? -1.0f : 1.0f) * difference;
    }
    axis = (1 / std::max(1e-6f, length(sum))) * sum;
  }
  float balance = 0;
  for (const Colour& difference : differences) {
    const float along = dot(difference, axis);
    if (2 * std::abs(along) > strength) balance += along;
  }
  return balance < 0 ? -1.0f * axis : axis;
}

// The standard deviation along the axis, estimated from the nearest quarter of the border, because ink may touch much
// of it.
float noise_of(const std::vector<Colour>& differences, Colour axis, const Places& border) {
  std::vector<float> sizes;
  for (const std::int64_t place : border)
    sizes.push_back(std::abs(dot(differences[static_cast<std::size_t>(place)], axis)));
  const auto quarter = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() / 4);
  std::ranges::nth_element(sizes, quarter);
  return *quarter / 0.3186f;  // contains a quarter of a normal distribution
}

}  // namespace

std::optional<Ink> find_ink(const OpaquePicture& picture) {
  const std::vector<Colour> off = differences(picture, find_paper(picture));
  const float strength = strength_of(off);
  if (strength < kLeastContrast) return std::nullopt;
  const Colour axis = direction_of(off, strength);
  Ink ink{picture.height, picture.width, {}, strength, 0};
  ink.values.reserve(off.size());
  // Ink of any colour counts, if it differs from the paper in the same direction.
  for (const Colour& difference : off) {
    ink.values.push_back((dot(difference, axis) < 0 ? -1.0f : 1.0f) * length(difference) / strength);
  }
  ink.noise = noise_of(off, axis, border_of(picture)) / strength;
  if (kNoiseOfBlank * ink.noise > 1) return std::nullopt;
  for (float& value : ink.values) value = std::max(0.0f, value);
  return ink;
}

}  // namespace distmnist
