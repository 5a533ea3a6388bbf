#include "data/ink_parts.h"

#include <algorithm>
#include <utility>

namespace distmnist {
namespace {

constexpr std::int64_t kLeastArea = 6;      // in pixels, of a digit
constexpr std::int64_t kDirtShare = 25;     // a part with less than 1/25 of the largest part's area is dirt
constexpr std::int64_t kBorderShare = 12;   // a line along the border is within 1/12 of the picture's side
constexpr std::int64_t kSideThickness = 8;  // a side of a rectangle is in the outermost 1/8 of its box
constexpr std::int64_t kSideCovers = 85;    // percent of its length

bool is_inside(const Box& inner, const Box& outer) {
  return inner.top > outer.top && inner.left > outer.left && inner.bottom < outer.bottom && inner.right < outer.right;
}

// The part touches the border of the picture, is entirely near it, and is at least half a side long. This excludes a
// digit in a corner.
bool runs_along_border(const InkParts& parts, std::int32_t number) {
  const Box& box = parts.parts[static_cast<std::size_t>(number)].box;
  if (box.top > 0 && box.left > 0 && box.bottom < parts.height && box.right < parts.width) return false;
  if (2 * box.height() < parts.height && 2 * box.width() < parts.width) return false;
  const std::int64_t y_margin = parts.height / kBorderShare, x_margin = parts.width / kBorderShare;
  for (std::int64_t y = std::max(box.top, y_margin); y < std::min(box.bottom, parts.height - y_margin); ++y) {
    for (std::int64_t x = std::max(box.left, x_margin); x < std::min(box.right, parts.width - x_margin); ++x) {
      if (parts.numbers[static_cast<std::size_t>(y * parts.width + x)] == number) return false;
    }
  }
  return true;
}

// A band along a side of a box: the columns [from, to), or with `across` the rows.
struct Band {
  bool across = false;
  std::int64_t from = 0, to = 0;
};

// Whether nearly every row (or column, with `across`) of the box has a pixel of the part in the band.
bool covers(const InkParts& parts, std::int32_t number, const Band& band) {
  const bool across = band.across;
  const Box& box = parts.parts[static_cast<std::size_t>(number)].box;
  const std::int64_t first = across ? box.left : box.top, last = across ? box.right : box.bottom;
  std::int64_t covered = 0;
  for (std::int64_t along = first; along < last; ++along) {
    for (std::int64_t deep = band.from; deep < band.to; ++deep) {
      const std::int64_t place = across ? deep * parts.width + along : along * parts.width + deep;
      if (parts.numbers[static_cast<std::size_t>(place)] != number) continue;
      ++covered;
      break;
    }
  }
  return 100 * covered >= kSideCovers * (last - first);
}

// A frame around other parts: four sides of a rectangle, mostly empty, with a part inside.
bool is_frame(const InkParts& parts, std::int32_t number) {
  const InkPart& part = parts.parts[static_cast<std::size_t>(number)];
  const Box& box = part.box;
  if (2 * part.area >= box.height() * box.width()) return false;
  const bool holds_another = std::ranges::any_of(
      parts.parts, [&](const InkPart& other) { return other.area >= kLeastArea && is_inside(other.box, box); });
  return holds_another && has_four_sides(parts, number);
}

std::int64_t largest_area(const InkParts& parts, const std::vector<std::int32_t>& numbers) {
  std::int64_t area = 0;
  for (const std::int32_t number : numbers) area = std::max(area, parts.parts[static_cast<std::size_t>(number)].area);
  return area;
}

class PartFinder {
 public:
  PartFinder(const Ink& ink, float threshold)
      : ink_(ink),
        threshold_(threshold),
        parts_{ink.height, ink.width, std::vector<std::int32_t>(ink.values.size(), InkParts::kNone), {}} {}

  InkParts find() && {
    for (std::size_t i = 0; i < ink_.values.size(); ++i) {
      if (parts_.numbers[i] != InkParts::kNone || ink_.values[i] < threshold_) continue;
      parts_.parts.push_back(fill(static_cast<std::int64_t>(i)));
    }
    return std::move(parts_);
  }

 private:
  // Numbers and measures the part that contains pixel `first`.
  InkPart fill(std::int64_t first) {
    const auto number = static_cast<std::int32_t>(parts_.parts.size());
    InkPart part{0, Box::none(ink_.height, ink_.width)};
    parts_.numbers[static_cast<std::size_t>(first)] = number;
    waiting_.assign(1, first);
    while (!waiting_.empty()) {
      const std::int64_t place = waiting_.back();
      waiting_.pop_back();
      ++part.area;
      part.box.include(place / ink_.width, place % ink_.width);
      ink_.for_neighbours(place, [&](std::int64_t near) {
        std::int32_t& mark = parts_.numbers[static_cast<std::size_t>(near)];
        if (mark != InkParts::kNone || ink_.values[static_cast<std::size_t>(near)] < threshold_) return;
        mark = number;
        waiting_.push_back(near);
      });
    }
    return part;
  }

  const Ink& ink_;
  float threshold_;
  InkParts parts_;
  std::vector<std::int64_t> waiting_;  // pixels of a part whose neighbours have not been visited
};

}  // namespace

bool has_four_sides(const InkParts& parts, std::int32_t number) {
  const Box& box = parts.parts[static_cast<std::size_t>(number)].box;
  const std::int64_t high = 1 + box.height() / kSideThickness, wide = 1 + box.width() / kSideThickness;
  return covers(parts, number, {true, box.top, std::min(box.bottom, box.top + high)}) &&
         covers(parts, number, {true, std::max(box.top, box.bottom - high), box.bottom}) &&
         covers(parts, number, {false, box.left, std::min(box.right, box.left + wide)}) &&
         covers(parts, number, {false, std::max(box.left, box.right - wide), box.right});
}

InkParts find_parts(const Ink& ink, float threshold) {
  return PartFinder(ink, threshold).find();
}

std::vector<std::int32_t> parts_of_digit(const InkParts& parts) {
  std::vector<std::int32_t> inner;
  for (std::size_t i = 0; i < parts.parts.size(); ++i) {
    const auto number = static_cast<std::int32_t>(i);
    if (parts.parts[i].area * kDirtShare < kLeastArea) continue;  // a cheap test first, because noise has many parts
    if (!runs_along_border(parts, number) && !is_frame(parts, number)) inner.push_back(number);
  }
  const std::int64_t largest = largest_area(parts, inner);
  if (largest < kLeastArea) return {};
  std::erase_if(inner, [&](std::int32_t number) {
    return parts.parts[static_cast<std::size_t>(number)].area * kDirtShare < largest;
  });
  return inner;
}

}  // namespace distmnist
