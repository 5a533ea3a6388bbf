#include "tools/picture_size.h"

#include "lib/base/error.h"

namespace distmnist {

void check_size(const std::string& file, std::int64_t height, std::int64_t width) {
  if (height <= kMaxPictureSide && width <= kMaxPictureSide && height * width <= kMaxPicturePixels) return;
  fail(ExitCode::kData, "{}: {} x {} pixels; at most {} a side and {} million in all are taken, so scale it down", file,
       width, height, kMaxPictureSide, kMaxPicturePixels / 1'000'000);
}

}  // namespace distmnist
