// Normalized digit: converts a digit from any picture to the format of MNIST.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/digit_side.h"
#include "data/picture.h"

namespace distmnist {

// kDigitSide x kDigitSide pixels, 0 paper .. 255 ink, made in the same way as the MNIST images: the bounding box of the
// ink is scaled to 20 x 20 with its aspect ratio preserved, and its centre of mass is moved to the middle. Ink may be
// darker or brighter than the paper, of a different colour, or all that is not transparent. Contrast is stretched;
// noise, dirt, a frame, uneven light on the paper, and a table around it are removed. Nothing if the picture is blank.
std::optional<std::vector<std::uint8_t>> normalize_digit(const Picture& picture);

// The pixels of a kDigitSide x kDigitSide picture unchanged, with colours as grey and transparent pixels as 0.
std::vector<std::uint8_t> raw_digit(const Picture& picture);

}  // namespace distmnist
