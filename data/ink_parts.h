// Ink parts: the connected parts of ink, and which of them form the digit.
#pragma once

#include <cstdint>
#include <vector>

#include "data/ink.h"
#include "data/picture.h"

namespace distmnist {

struct InkPart {
  std::int64_t area = 0;  // in pixels
  Box box;
};

struct InkParts {
  static constexpr std::int32_t kNone = -1;
  std::int64_t height = 0, width = 0;
  std::vector<std::int32_t> numbers;  // [height, width]; the part of each pixel, or kNone
  std::vector<InkPart> parts;
};

// Connects pixels of at least `threshold` that touch, including diagonally.
InkParts find_parts(const Ink& ink, float threshold);

// Whether a part runs nearly straight along all four sides of its bounding box, like a sheet of paper or a frame.
bool has_four_sides(const InkParts& parts, std::int32_t number);

// The numbers of the parts that form the digit, ascending; none if the picture is blank. Parts much smaller than the
// largest count as dirt. A line along the border, or a frame around other parts, is not part of a digit.
std::vector<std::int32_t> parts_of_digit(const InkParts& parts);

}  // namespace distmnist
