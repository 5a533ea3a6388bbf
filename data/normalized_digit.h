// A digit of any picture as MNIST would have it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/picture.h"

namespace distmnist {

inline constexpr std::int64_t kDigitSide = 28;

// kDigitSide x kDigitSide pixels, 0 paper .. 255 ink, made as the images of MNIST were: the box around the ink is
// scaled to 20 x 20, keeping its proportions, and its centre of mass put into the middle. Ink may be darker or brighter
// than the paper, of another colour, or all that is not transparent; contrast is stretched; noise, dirt, a frame, a
// lamp's light on the paper, and a table around it are left out. Nothing where the picture is blank.
std::optional<std::vector<std::uint8_t>> normalize_digit(const Picture& picture);

// The pixels of a picture of kDigitSide x kDigitSide as they are, colours as grey, what is transparent as 0.
std::vector<std::uint8_t> raw_digit(const Picture& picture);

}  // namespace distmnist
