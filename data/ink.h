// Ink: separates the ink in a picture from the paper.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/picture.h"

namespace distmnist {

struct Ink {
  std::int64_t height = 0, width = 0;
  std::vector<float> values;  // [height, width]; 0 for paper, about 1 for the strongest ink
  float contrast = 0;         // colour distance between values 0 and 1; 442 for black on white
  float noise = 0;            // standard deviation of the values of the paper

  float at(std::int64_t y, std::int64_t x) const { return values[static_cast<std::size_t>(y * width + x)]; }

  // Calls visit(place) with y * width + x for the pixel at `place` and its neighbours, including diagonal ones.
  template <typename Visit>
  void for_neighbours(std::int64_t place, const Visit& visit) const {
    const std::int64_t y = place / width, x = place % width;
    for (std::int64_t ny = std::max<std::int64_t>(0, y - 1); ny < std::min(height, y + 2); ++ny) {
      for (std::int64_t nx = std::max<std::int64_t>(0, x - 1); nx < std::min(width, x + 2); ++nx)
        visit(ny * width + nx);
    }
  }
};

// Paper is what covers most of the border. Ink is what differs most from it: darker, brighter, or a different colour.
// Nothing if no difference exceeds the noise of the paper.
std::optional<Ink> find_ink(const OpaquePicture& picture);

}  // namespace distmnist
