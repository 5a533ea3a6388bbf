// Picture size: the limits on the size of a picture.
#pragma once

#include <cstdint>
#include <string>

namespace distmnist {

// A few bytes of a file can declare any number of pixels, so these limits are checked before anything is allocated.
inline constexpr std::int64_t kMaxPictureSide = 30'000;
inline constexpr std::int64_t kMaxPicturePixels = 64'000'000;  // 256 MB in memory

// Error (kData) gives the file, its size and the limit.
void check_size(const std::string& file, std::int64_t height, std::int64_t width);

}  // namespace distmnist
