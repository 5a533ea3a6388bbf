// The connected parts of ink, and which of them are a digit's.
#pragma once

#include <cstdint>
#include <vector>

#include "data/ink.h"
#include "data/picture.h"

namespace distmnist {

struct InkPart {
  std::int64_t area = 0;  // pixels
  Box box;
};

struct InkParts {
  static constexpr std::int32_t kNone = -1;
  std::int64_t height = 0, width = 0;
  std::vector<std::int32_t> numbers;  // [height, width]; the part that a pixel belongs to, or kNone
  std::vector<InkPart> parts;
};

// Pixels of at least `threshold` that touch, also at their corners, are one part.
InkParts find_parts(const Ink& ink, float threshold);

// Whether a part lies along all four sides of the box around it, nearly straight, as a sheet of paper or a frame does.
bool has_four_sides(const InkParts& parts, std::int32_t number);

// The numbers of those parts that make a digit, ascending; none in a picture that is blank. What is much smaller than
// the largest is dirt; a line along the border, or a frame around others, is no part of a digit.
std::vector<std::int32_t> parts_of_digit(const InkParts& parts);

}  // namespace distmnist
