// Which way up a picture is: cameras store it as it was taken, and beside it how it was held.
#pragma once

#include <cstddef>
#include <span>

#include "data/picture.h"

namespace distmnist {

inline constexpr int kUpright = 1;

// The orientation that Exif data says (1 .. 8, its tag 0x112); kUpright where it says nothing sensible. `exif` begins
// with a TIFF header ("II*\0" or "MM\0*").
int orientation_of(std::span<const std::byte> exif);

// The picture as it is to be seen: orientation 3 is turned by 180 degrees, 6 clockwise by 90, 8 the other way; 2, 4, 5
// and 7 are mirrored besides.
Picture turn_upright(Picture picture, int orientation);

}  // namespace distmnist
