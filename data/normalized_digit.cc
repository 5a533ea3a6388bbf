#include "data/normalized_digit.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "data/ink.h"
#include "data/ink_parts.h"

namespace distmnist {
namespace {

constexpr std::int64_t kBoxSide = 20;          // of an MNIST digit
constexpr std::int64_t kWorkingSide = 320;     // a larger picture is reduced before searching for the digit
constexpr std::int64_t kEnoughForADigit = 80;  // pixels of its longer side
constexpr float kStrong = 0.33f;               // ink that starts a part
constexpr float kNoiseOfStrong = 4.0f;         // ... if it exceeds the noise by this many standard deviations
constexpr float kWeak = 0.04f;                 // ink that belongs to an adjacent part
constexpr float kNoiseOfWeak = 2.5f;
constexpr float kReach = 0.07f;            // how far to extend a part, as a fraction of the digit's longer side
constexpr double kFullInk = 0.85;          // this fraction of a digit's pixels may be fainter than full ink
constexpr float kSheetFill = 0.5f;         // minimum fraction of its box that a sheet of paper covers
constexpr float kSheetShare = 0.4f;        // minimum fraction of the picture's sides
constexpr std::int64_t kLeastSheet = 16;   // pixels per side
constexpr std::int64_t kDeepestEdge = 10;  // the surroundings of a sheet reach at most 1/10 of its side into its box
constexpr float kContrastOnSheet = 0.35f;  // of the ink on a sheet, relative to the sheet's contrast around it

// The ink of just one digit, 0 .. 1, and its bounding box.
struct Found {
  Ink ink;
  Box box;                         // relative to the ink
  std::int64_t top = 0, left = 0;  // position of the ink's first pixel in the picture
};

std::size_t place(const Ink& ink, std::int64_t y, std::int64_t x) {
  return static_cast<std::size_t>(y * ink.width + x);
}

// Extends the marked pixels `rounds` times by adjacent pixels of at least `weak`.
void spread(const Ink& ink, float weak, std::int64_t rounds, std::vector<char>& marked) {
  std::vector<std::int64_t> edge, next;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    if (marked[i]) edge.push_back(static_cast<std::int64_t>(i));
  }
  const auto mark_weak = [&](std::int64_t near) {
    const auto i = static_cast<std::size_t>(near);
    if (marked[i] || ink.values[i] < weak) return;
    marked[i] = 1;
    next.push_back(near);
  };
  for (; rounds > 0 && !edge.empty(); --rounds) {
    next.clear();
    for (const std::int64_t place : edge) ink.for_neighbours(place, mark_weak);
    std::swap(edge, next);
  }
}

Box box_of(const Ink& ink, const std::vector<char>& marked) {
  Box box = Box::none(ink.height, ink.width);
  for (std::int64_t y = 0; y < ink.height; ++y) {
    for (std::int64_t x = 0; x < ink.width; ++x) {
      if (marked[place(ink, y, x)]) box.include(y, x);
    }
  }
  return box;
}

// The level of full ink among these values; at least one of them is above kWeak.
float full_ink(const std::vector<float>& values) {
  std::vector<float> inked;
  std::ranges::copy_if(values, std::back_inserter(inked), [](float value) { return value > kWeak; });
  const auto full = inked.begin() + static_cast<std::ptrdiff_t>(kFullInk * static_cast<double>(inked.size()));
  std::ranges::nth_element(inked, full);
  return *full;
}

// Scales full ink to 1 and sets pixels that are not marked to 0.
void stretch(Ink& ink, const std::vector<char>& marked) {
  std::vector<float> values;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    if (marked[i]) values.push_back(ink.values[i]);
  }
  const float full = full_ink(values);
  ink.contrast *= full;
  const float factor = 1 / full;
  for (std::size_t i = 0; i < marked.size(); ++i)
    ink.values[i] = marked[i] ? std::min(1.0f, factor * ink.values[i]) : 0;
}

std::optional<Found> find_digit(const OpaquePicture& picture);

// If this part looks like a sheet of paper on a background, returns that part of the picture, with the background
// painted in the colour of the sheet.
std::optional<OpaquePicture> sheet_of(const OpaquePicture& picture, const InkParts& parts, std::int32_t number) {
  const InkPart& part = parts.parts[static_cast<std::size_t>(number)];
  const Box& box = part.box;
  const auto share = [](std::int64_t a, std::int64_t b) { return static_cast<float>(a) / static_cast<float>(b); };
  if (std::min(box.height(), box.width()) < kLeastSheet || share(box.height(), picture.height) < kSheetShare ||
      share(box.width(), picture.width) < kSheetShare || share(part.area, box.height() * box.width()) < kSheetFill ||
      !has_four_sides(parts, number)) {
    return std::nullopt;
  }
  OpaquePicture sheet{box.height(), box.width(), {}};
  std::vector<Colour> of_part;
  Ink around{box.height(), box.width(), {}, 0, 0};  // 1: not on the sheet
  for (std::int64_t y = box.top; y < box.bottom; ++y) {
    for (std::int64_t x = box.left; x < box.right; ++x) {
      const bool on = parts.numbers[static_cast<std::size_t>(y * parts.width + x)] == number;
      sheet.pixels.push_back(picture.at(y, x));
      around.values.push_back(on ? 0.0f : 1.0f);
      if (on) of_part.push_back(picture.at(y, x));
    }
  }
  std::vector<char> outside(sheet.pixels.size(), 0);
  const auto mark_border = [&](float at_least) {
    for (std::int64_t y = 0; y < sheet.height; ++y) {
      for (std::int64_t x = 0; x < sheet.width; ++x) {
        const bool at_border = y == 0 || x == 0 || y == sheet.height - 1 || x == sheet.width - 1;
        if (at_border && around.at(y, x) >= at_least) outside[place(around, y, x)] = 1;
      }
    }
  };
  mark_border(1);
  // Only a short distance, because a digit may touch the edge of its sheet.
  spread(around, 0.5f, std::min(sheet.height, sheet.width) / kDeepestEdge, outside);
  mark_border(0);
  spread(around, 0.0f, 1 + std::min(sheet.height, sheet.width) / 50, outside);  // its edges mix both colours
  const Colour colour = median_colour(std::move(of_part));
  for (std::size_t i = 0; i < outside.size(); ++i) {
    if (outside[i]) sheet.pixels[i] = colour;
  }
  return sheet;
}

std::optional<Found> find_digit_on_sheet(const OpaquePicture& picture, const Ink& ink, const InkParts& parts,
                                         const std::vector<std::int32_t>& numbers) {
  for (const std::int32_t number : numbers) {
    const std::optional<OpaquePicture> sheet = sheet_of(picture, parts, number);
    if (!sheet) continue;
    std::optional<Found> found = find_digit(*sheet);
    if (!found || found->ink.contrast < kContrastOnSheet * ink.contrast) continue;
    found->top += parts.parts[static_cast<std::size_t>(number)].box.top;
    found->left += parts.parts[static_cast<std::size_t>(number)].box.left;
    return found;
  }
  return std::nullopt;
}

// A sheet nearly as large as the picture is not a digit.
bool is_empty_sheet(const InkParts& parts, std::int32_t number) {
  const InkPart& part = parts.parts[static_cast<std::size_t>(number)];
  const std::int64_t height = part.box.height(), width = part.box.width();
  return std::min(height, width) >= kLeastSheet && 5 * height >= 4 * parts.height && 5 * width >= 4 * parts.width &&
         3 * height > width && 3 * width > height &&
         static_cast<float>(part.area) >= kSheetFill * static_cast<float>(height * width) &&
         has_four_sides(parts, number);
}

std::optional<Found> find_digit(const OpaquePicture& picture) {
  std::optional<Ink> ink = find_ink(picture);
  if (!ink) return std::nullopt;
  const InkParts parts = find_parts(*ink, std::clamp(kNoiseOfStrong * ink->noise, kStrong, 0.6f));
  const std::vector<std::int32_t> numbers = parts_of_digit(parts);
  if (numbers.empty()) return std::nullopt;
  if (std::optional<Found> found = find_digit_on_sheet(picture, *ink, parts, numbers)) return found;
  if (std::ranges::any_of(numbers, [&](std::int32_t number) { return is_empty_sheet(parts, number); }))
    return std::nullopt;
  std::vector<char> marked;
  for (const std::int32_t number : parts.numbers) marked.push_back(std::ranges::binary_search(numbers, number) ? 1 : 0);
  const Box strong = box_of(*ink, marked);
  const auto reach =
      static_cast<std::int64_t>(std::ceil(kReach * static_cast<float>(std::max(strong.height(), strong.width()))));
  spread(*ink, std::max(kWeak, kNoiseOfWeak * ink->noise), reach, marked);
  stretch(*ink, marked);
  const Box box = box_of(*ink, marked);
  return Found{std::move(*ink), box, 0, 0};
}

// The weight of each source pixel for each target pixel, [target][source]: the overlap, or, if the target has more
// pixels than the source, the closeness.
std::vector<std::vector<float>> weights(std::int64_t source, std::int64_t target) {
  std::vector<std::vector<float>> out;
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double reach = std::max(1.0, scale);
  for (std::int64_t t = 0; t < target; ++t) {
    std::vector<float> row;
    const double middle = (static_cast<double>(t) + 0.5) * scale;
    for (std::int64_t s = 0; s < source; ++s) {
      const double from = std::max(static_cast<double>(s), middle - scale / 2);
      const double to = std::min(static_cast<double>(s) + 1, middle + scale / 2);
      const double nearness = 1 - std::abs(static_cast<double>(s) + 0.5 - middle);
      row.push_back(static_cast<float>(std::max(0.0, scale >= 1 ? (to - from) / reach : nearness)));
    }
    out.push_back(std::move(row));
  }
  return out;
}

// The digit's box resampled to height x width values.
std::vector<float> resample(const Found& found, std::int64_t height, std::int64_t width) {
  const auto down = weights(found.box.height(), height), across = weights(found.box.width(), width);
  std::vector<float> rows(static_cast<std::size_t>(height * found.box.width()));
  for (std::int64_t t = 0; t < height; ++t) {
    for (std::int64_t s = 0; s < found.box.height(); ++s) {
      const float weight = down[static_cast<std::size_t>(t)][static_cast<std::size_t>(s)];
      if (weight == 0) continue;
      for (std::int64_t x = 0; x < found.box.width(); ++x) {
        rows[static_cast<std::size_t>(t * found.box.width() + x)] +=
            weight * found.ink.at(found.box.top + s, found.box.left + x);
      }
    }
  }
  std::vector<float> out(static_cast<std::size_t>(height * width));
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t t = 0; t < width; ++t) {
      for (std::int64_t s = 0; s < found.box.width(); ++s) {
        out[static_cast<std::size_t>(y * width + t)] +=
            across[static_cast<std::size_t>(t)][static_cast<std::size_t>(s)] *
            rows[static_cast<std::size_t>(y * found.box.width() + s)];
      }
    }
  }
  return out;
}

// The first pixel of a side of `size` pixels, so that its centre of mass is in the middle of the image; clamped to stay
// inside.
std::int64_t first_of(double centre, std::int64_t size) {
  return std::clamp<std::int64_t>(std::lround(static_cast<double>(kDigitSide) / 2 - centre), 0, kDigitSide - size);
}

std::vector<std::uint8_t> place_digit(const Found& found) {
  const std::int64_t longer = std::max(found.box.height(), found.box.width());
  const auto scaled = [&](std::int64_t side) {
    return std::max<std::int64_t>(1, (2 * side * kBoxSide + longer) / (2 * longer));
  };
  const std::int64_t height = scaled(found.box.height()), width = scaled(found.box.width());
  const std::vector<float> values = resample(found, height, width);
  double mass = 0, y_mass = 0, x_mass = 0;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const float value = values[static_cast<std::size_t>(y * width + x)];
      mass += value;
      y_mass += value * static_cast<double>(y);
      x_mass += value * static_cast<double>(x);
    }
  }
  // Thin or blurred strokes have become faint, but strokes in MNIST are white.
  const float full = full_ink(values);
  const std::int64_t top = first_of(y_mass / mass, height), left = first_of(x_mass / mass, width);
  std::vector<std::uint8_t> out(kDigitSide * kDigitSide, 0);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const float value = 255 * std::min(1.0f, values[static_cast<std::size_t>(y * width + x)] / full);
      out[static_cast<std::size_t>((top + y) * kDigitSide + left + x)] = static_cast<std::uint8_t>(std::lround(value));
    }
  }
  return out;
}

// The area of the picture that contains the digit and some paper around it. The digit was found in `region`, reduced by
// `factor`.
Box surroundings(const Found& found, const Box& region, std::int64_t factor) {
  const std::int64_t margin = factor * (2 + std::max(found.box.height(), found.box.width()) / 4);
  const std::int64_t top = region.top + factor * (found.top + found.box.top);
  const std::int64_t left = region.left + factor * (found.left + found.box.left);
  return {std::max(region.top, top - margin), std::max(region.left, left - margin),
          std::min(region.bottom, top + factor * found.box.height() + margin),
          std::min(region.right, left + factor * found.box.width() + margin)};
}

}  // namespace

std::optional<std::vector<std::uint8_t>> normalize_digit(const Picture& picture) {
  Box region{0, 0, picture.height, picture.width};
  std::optional<Found> found;
  // Zooms in on a digit that is small in its picture and searches again.
  for (;;) {
    const std::int64_t longer = std::max(region.height(), region.width());
    const std::int64_t factor = (longer + kWorkingSide - 1) / kWorkingSide;
    const std::optional<OpaquePicture> flat = flatten(reduce(picture, region, factor));
    std::optional<Found> next = flat ? find_digit(*flat) : std::nullopt;
    if (!next) break;
    found = std::move(next);
    if (factor == 1 || std::max(found->box.height(), found->box.width()) >= kEnoughForADigit) break;
    region = surroundings(*found, region, factor);
  }
  if (!found) return std::nullopt;
  return place_digit(*found);
}

std::vector<std::uint8_t> raw_digit(const Picture& picture) {
  std::vector<std::uint8_t> out;
  for (std::size_t i = 0; i < picture.rgba.size(); i += 4) {
    const std::uint8_t* pixel = &picture.rgba[i];
    const int grey = (299 * pixel[0] + 587 * pixel[1] + 114 * pixel[2] + 500) / 1000;
    out.push_back(static_cast<std::uint8_t>((grey * pixel[3] + 127) / 255));
  }
  return out;
}

}  // namespace distmnist
