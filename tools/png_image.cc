#include "tools/png_image.h"

#include <algorithm>

#include <png.h>

#include "lib/base/error.h"

namespace distmnist {
namespace {

struct GreyImage {
  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> pixels;
  std::uint8_t at(std::int64_t y, std::int64_t x) const { return pixels[static_cast<std::size_t>(y * width + x)]; }
};

GreyImage read_grey(const std::string& path) {
  constexpr png_uint_32 kMaxSide = 4096;
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_file(&image, path.c_str()) == 0) fail(ExitCode::kData, "{}: {}", path, image.message);
  if (image.width > kMaxSide || image.height > kMaxSide) {
    png_image_free(&image);
    fail(ExitCode::kData, "{}: {}x{} pixels; at most {} a side", path, image.height, image.width, kMaxSide);
  }
  image.format = PNG_FORMAT_GRAY;
  GreyImage grey{image.height, image.width, std::vector<std::uint8_t>(PNG_IMAGE_SIZE(image))};
  const png_color paper = {255, 255, 255};  // behind what is transparent
  if (png_image_finish_read(&image, &paper, grey.pixels.data(), 0, nullptr) == 0)
    fail(ExitCode::kData, "{}: {}", path, image.message);
  return grey;
}

bool has_bright_border(const GreyImage& image) {
  std::int64_t sum = 0, count = 0;
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) {
      if (y != 0 && x != 0 && y != image.height - 1 && x != image.width - 1) continue;
      sum += image.at(y, x);
      ++count;
    }
  }
  return sum > 127 * count;
}

// The mean of the source pixels that target pixel (y, x) covers; at least one.
std::uint8_t area_mean(const GreyImage& image, std::int64_t side, std::int64_t y, std::int64_t x) {
  const std::int64_t top = y * image.height / side, left = x * image.width / side;
  const std::int64_t bottom = std::max(top + 1, (y + 1) * image.height / side);
  const std::int64_t right = std::max(left + 1, (x + 1) * image.width / side);
  std::int64_t sum = 0;
  for (std::int64_t sy = top; sy < bottom; ++sy) {
    for (std::int64_t sx = left; sx < right; ++sx) sum += image.at(sy, sx);
  }
  return static_cast<std::uint8_t>(sum / ((bottom - top) * (right - left)));
}

}  // namespace

std::vector<std::uint8_t> read_digit_png(const std::string& path, std::int64_t side) {
  const GreyImage image = read_grey(path);
  const bool dark_on_paper = has_bright_border(image);
  std::vector<std::uint8_t> out;
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) {
      const std::uint8_t grey = area_mean(image, side, y, x);
      out.push_back(dark_on_paper ? static_cast<std::uint8_t>(255 - grey) : grey);
    }
  }
  return out;
}

}  // namespace distmnist
