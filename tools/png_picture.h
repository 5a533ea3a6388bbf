// PNG: decodes PNG pictures.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/picture.h"

namespace distmnist {

// Supports every kind of PNG; for an animated one, the picture that viewers without animation show. Values are taken
// from the file unchanged, or the upper 8 bits (rounded) of 16-bit channels: gamma and colour profiles are not applied.
// Error (kData) names `file`: damaged, truncated, or too large (picture_size.h).
Picture read_png(const std::string& file, std::span<const std::byte> bytes);

}  // namespace distmnist
