#include "tools/picture_file.h"

#include <string_view>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

using namespace std::string_view_literals;

TEST_CASE("pictures and IDX files are recognized by their first bytes") {
  CHECK(format_of("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"sv).format == PictureFormat::kPng);
  CHECK(format_of("\xff\xd8\xff\xe0"sv).format == PictureFormat::kJpeg);
  CHECK(format_of("\xff\xd8\xff"sv).format == PictureFormat::kJpeg);
  CHECK(format_of("\0\0\x08\x03\0\0\0\x01"sv).format == PictureFormat::kIdx);
  CHECK(format_of("\0\0\x0d\x03\0\0\0\x01"sv).format == PictureFormat::kIdx);  // floats, which the IDX reader refuses
}

TEST_CASE("other files are named") {
  const auto name = [](std::string_view start) {
    const KnownFile file = format_of(start);
    CHECK(file.format == PictureFormat::kOther);
    return file.name;
  };
  CHECK(name("GIF89a"sv) == "a GIF");
  CHECK(name("RIFF\x10\0\0\0WEBPVP8 "sv) == "a WebP");
  CHECK(name("\0\0\0\x18"
             "ftypheic\0\0"sv) == "a HEIC");
  CHECK(name("\0\0\0\x18"
             "ftypmp42\0\0"sv) == "a video");
  CHECK(name("\n<SVG width='3'>"sv) == "an SVG");
  CHECK(name("<!DOCTYPE html>"sv) == "an HTML page");
  CHECK(name("P5\n28 28\n255\n"sv) == "a PGM");
  CHECK(name("P500 of them"sv) == R"(text ("P500 of them"))");
  CHECK(name("\0\0\x08\x01\0\0\0\x01"sv) == "an IDX file of labels");
  CHECK(name("\x89PNG\n\x1a\n"sv) == "a PNG that was damaged when it was copied as text");
  CHECK(name("\x01"sv) == "a file that begins with the bytes 01");
}

}  // namespace
}  // namespace distmnist
