#include "tools/orientation.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using namespace std::string_view_literals;

int orientation_in(std::string_view exif) {
  return orientation_of(std::as_bytes(std::span(exif)));
}

// The rows of red channels, one after the other.
std::string turned(int orientation) {
  Picture picture{2, 3, {}};
  for (const char c : "abcdef"sv) picture.rgba.insert(picture.rgba.end(), {static_cast<std::uint8_t>(c), 0, 0, 255});
  picture = turn_upright(std::move(picture), orientation);
  std::string out;
  for (std::int64_t i = 0; i < 6; ++i) {
    if (i > 0 && i % picture.width == 0) out += '/';
    out += static_cast<char>(picture.rgba[static_cast<std::size_t>(4 * i)]);
  }
  return out;
}

TEST_CASE("the orientation is found in both byte orders") {
  CHECK(orientation_in("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"sv) == 6);
  CHECK(orientation_in(
            "II\x2a\0\x08\0\0\0\x02\0\x00\x01\x03\0\x01\0\0\0\x09\0\0\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0"sv) == 8);
}

TEST_CASE("invalid orientation data does not change a picture") {
  const std::string_view whole = "MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06"sv;
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(orientation_in(whole.substr(0, size)) == kUpright);
  CHECK(orientation_in("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0"sv) == kUpright);
  CHECK(orientation_in("MM\0\x2a\xff\xff\xff\xff\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"sv) == kUpright);
  CHECK(orientation_in("MM\0\x2a\0\0\0\x08\xff\xff\x01\x13\0\x03\0\0\0\x01\0\x06\0\0"sv) == kUpright);
}

TEST_CASE("each orientation is rotated and mirrored correctly") {
  CHECK(turned(1) == "abc/def");
  CHECK(turned(2) == "cba/fed");
  CHECK(turned(3) == "fed/cba");
  CHECK(turned(4) == "def/abc");
  CHECK(turned(5) == "ad/be/cf");
  CHECK(turned(6) == "da/eb/fc");
  CHECK(turned(7) == "fc/eb/da");
  CHECK(turned(8) == "cf/be/ad");
}

}  // namespace
}  // namespace distmnist
