// Orientation: rotates pictures upright. Cameras store the picture as taken, plus a tag for how the camera was held.
#pragma once

#include <cstddef>
#include <span>

#include "data/picture.h"

namespace distmnist {

inline constexpr int kUpright = 1;

// The orientation in Exif data (1 .. 8, tag 0x112); kUpright if it has no valid one. `exif` begins with a TIFF header
// ("II*\0" or "MM\0*").
int orientation_of(std::span<const std::byte> exif);

// The picture as it should be displayed: orientation 3 is rotated by 180 degrees, 6 clockwise by 90, and 8
// counterclockwise by 90; 2, 4, 5 and 7 are also mirrored.
Picture turn_upright(Picture picture, int orientation);

}  // namespace distmnist
