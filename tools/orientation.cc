#include "tools/orientation.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace distmnist {
namespace {

constexpr std::uint32_t kOrientationTag = 0x112;
constexpr std::size_t kEntryBytes = 12;

// Reads numbers in either byte order; 0 past the end.
struct Tiff {
  std::span<const std::byte> bytes;
  bool little_endian = false;

  std::uint32_t number(std::size_t offset, std::size_t size) const {
    if (offset > bytes.size() || size > bytes.size() - offset) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t shift = 8 * (little_endian ? i : size - 1 - i);
      value |= std::to_integer<std::uint32_t>(bytes[offset + i]) << shift;
    }
    return value;
  }
};

}  // namespace

int orientation_of(std::span<const std::byte> exif) {
  Tiff tiff{exif, !exif.empty() && exif[0] == std::byte{'I'}};
  if (tiff.number(2, 2) != 42) return kUpright;
  const std::size_t directory = tiff.number(4, 4);
  const std::uint32_t entries = tiff.number(directory, 2);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const std::uint32_t value = tiff.number(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

Picture turn_upright(Picture picture, int orientation) {
  if (orientation == kUpright) return picture;
  // Whether rows become columns, and which axes of the stored picture are then reversed.
  const bool swapped = orientation >= 5;
  const bool y_backwards = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool x_backwards = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Picture out{swapped ? picture.width : picture.height, swapped ? picture.height : picture.width, {}};
  out.rgba.resize(picture.rgba.size());
  for (std::int64_t y = 0; y < out.height; ++y) {
    for (std::int64_t x = 0; x < out.width; ++x) {
      std::int64_t from_y = swapped ? x : y, from_x = swapped ? y : x;
      if (y_backwards) from_y = picture.height - 1 - from_y;
      if (x_backwards) from_x = picture.width - 1 - from_x;
      std::copy_n(picture.rgba.begin() + 4 * (from_y * picture.width + from_x), 4,
                  out.rgba.begin() + 4 * (y * out.width + x));
    }
  }
  return out;
}

}  // namespace distmnist
