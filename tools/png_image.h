// Reading a picture of a digit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace distmnist {

// The PNG as side x side grey pixels, 0 background .. 255 ink, as in MNIST. Colours become grey; another size is
// averaged to fit; a picture with a bright border is taken as dark ink on paper and inverted. Error (kData): not a PNG,
// broken, or larger than 4096 pixels a side.
std::vector<std::uint8_t> read_digit_png(const std::string& path, std::int64_t side);

}  // namespace distmnist
