// What of a picture is ink, told from the paper that it is on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/picture.h"

namespace distmnist {

struct Ink {
  std::int64_t height = 0, width = 0;
  std::vector<float> values;  // [height, width]; 0 paper, about 1 where the ink is strongest
  float contrast = 0;         // between 0 and 1 of the values, as a distance of colours: 442 of black and white
  float noise = 0;            // standard deviation of the values of paper

  float at(std::int64_t y, std::int64_t x) const { return values[static_cast<std::size_t>(y * width + x)]; }

  // Calls visit(place) with y * width + x of the pixel at `place` and of those that touch it, also at a corner.
  template <typename Visit>
  void for_neighbours(std::int64_t place, const Visit& visit) const {
    const std::int64_t y = place / width, x = place % width;
    for (std::int64_t ny = std::max<std::int64_t>(0, y - 1); ny < std::min(height, y + 2); ++ny) {
      for (std::int64_t nx = std::max<std::int64_t>(0, x - 1); nx < std::min(width, x + 2); ++nx)
        visit(ny * width + nx);
    }
  }
};

// Paper is what most of the border is; ink is what differs from it the most, in whichever way: darker, brighter, or of
// another colour. Nothing where nothing differs by more than the noise of the paper.
std::optional<Ink> find_ink(const OpaquePicture& picture);

}  // namespace distmnist
