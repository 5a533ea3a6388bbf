// JPEG: decoding.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/picture.h"

namespace distmnist {

// Baseline or progressive; grey, colour or CMYK; turned as its Exif data says. Error (kData) names `file`: broken, cut
// off, of a kind that libjpeg does not know, or too large (picture_size.h).
Picture read_jpeg(const std::string& file, std::span<const std::byte> bytes);

}  // namespace distmnist
