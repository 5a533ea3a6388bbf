// How large a picture may be.
#pragma once

#include <cstdint>
#include <string>

namespace distmnist {

// Some bytes of a file may announce any number of pixels, so these are limits before anything is allocated.
inline constexpr std::int64_t kMaxPictureSide = 30'000;
inline constexpr std::int64_t kMaxPicturePixels = 64'000'000;  // 256 MB in memory

// Error (kData) names the file, its size and the limit.
void check_size(const std::string& file, std::int64_t height, std::int64_t width);

}  // namespace distmnist
