// PNG: decoding.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/picture.h"

namespace distmnist {

// Any kind of PNG; of an animated one the picture that viewers without animation show. The numbers are those of the
// file, of 16-bit channels the upper 8 bits (rounded): gamma and colour profiles are not applied. Error (kData) names
// `file`: broken, cut off, or too large (picture_size.h).
Picture read_png(const std::string& file, std::span<const std::byte> bytes);

}  // namespace distmnist
