// JPEG: decodes JPEG pictures.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/picture.h"

namespace distmnist {

// Baseline or progressive; grey, colour or CMYK; rotated as the Exif data says. Error (kData) names `file`: damaged,
// truncated, of a type that libjpeg does not support, or too large (picture_size.h).
Picture read_jpeg(const std::string& file, std::span<const std::byte> bytes);

}  // namespace distmnist
