#include "tools/picture_size.h"

#include "lib/base/error.h"

namespace distmnist {

void check_size(const std::string& file, std::int64_t height, std::int64_t width) {
  if (height <= kMaxPictureSide && width <= kMaxPictureSide && height * width <= kMaxPicturePixels) return;
  fail(ExitCode::kData, "{}: {} x {} pixels are too many; scale it down to at most {} a side and {} million in all",
       file, width, height, kMaxPictureSide, kMaxPicturePixels / 1'000'000);
}

}  // namespace distmnist
