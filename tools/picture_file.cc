#include "tools/picture_file.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "data/file_kind.h"
#include "data/gzip_reader.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/lower_case.h"
#include "tools/jpeg_picture.h"
#include "tools/png_picture.h"

namespace distmnist {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 29;  // a picture of the largest size without compression
constexpr std::size_t kShownBytes = 8;

using namespace std::string_view_literals;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view name;
};

// The first match counts.
constexpr Signature kSignatures[] = {
    {0, "\x89PNG"sv, "a PNG that was damaged when it was copied as text"},  // an intact PNG is detected before this
    {0, "GIF8"sv, "a GIF"},
    {8, "WEBP"sv, "a WebP"},
    {0, "BM"sv, "a BMP"},
    {0, "II*\0"sv, "a TIFF"},
    {0, "MM\0*"sv, "a TIFF"},
    {0, "\0\0\1\0"sv, "an ICO"},
    {4, "ftypavi"sv, "an AVIF"},
    {4, "ftypheic"sv, "a HEIC"},
    {4, "ftypheix"sv, "a HEIC"},
    {4, "ftyphevc"sv, "a HEIC"},
    {4, "ftypmif1"sv, "a HEIC"},
    {4, "ftypmsf1"sv, "a HEIC"},
    {4, "ftyp"sv, "a video"},
    {4, "JXL "sv, "a JPEG XL"},
    {0, "\xff\x0a"sv, "a JPEG XL"},
    {4, "jP  "sv, "a JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "a JPEG 2000"},
    {0, "\x8aMNG"sv, "a MNG"},
    {0, "8BPS"sv, "a Photoshop file"},
    {0, "gimp xcf"sv, "a GIMP file"},
    {0, "%PDF"sv, "a PDF"},
    {0, "%!PS"sv, "a PostScript file"},
    {0, "\x1f\x8b"sv, "a gzip file"},
    {0, "P1"sv, "a PBM"},
    {0, "P4"sv, "a PBM"},
    {0, "P2"sv, "a PGM"},
    {0, "P5"sv, "a PGM"},
    {0, "P3"sv, "a PPM"},
    {0, "P6"sv, "a PPM"},
};

bool has(std::string_view text, std::size_t offset, std::string_view part) {
  return text.size() >= offset && text.substr(offset).starts_with(part);
}

// "a GIF"; for unknown types, the first bytes.
std::string name_of(std::string_view start) {
  for (const Signature& signature : kSignatures) {
    const bool weak = signature.bytes.size() == 2 && signature.bytes[0] == 'P';  // text may also begin like this
    if (!has(start, signature.offset, signature.bytes)) continue;
    if (weak && (start.size() < 3 || std::string_view(" \t\r\n#").find(start[2]) == std::string_view::npos)) continue;
    return std::string(signature.name);
  }
  if (lower_case(start).find("<svg") != std::string::npos) return "an SVG";
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(start.data());
  if (const auto other = kind_of_file({bytes, start.size()})) return other->what;
  const std::string_view first = start.substr(0, kShownBytes);
  std::string shown;
  for (const char c : first) {
    shown += fmt::format("{}{:02x}", shown.empty() ? "" : " ", static_cast<unsigned char>(c));
  }
  return "a file that begins with the bytes " + shown;
}

std::string start_of(const std::filesystem::path& path) {
  const InputFile file = open_for_reading(path);
  if (file.size_bytes == 0) fail(ExitCode::kData, "{}: the file is empty", path.string());
  std::string start(std::min<std::uint64_t>(kTellingBytes, file.size_bytes), '\0');
  read_at(file, path, 0, std::as_writable_bytes(std::span(start)));
  return start;
}

}  // namespace

KnownFile format_of(std::string_view start) {
  if (has(start, 0, "\x89PNG\r\n\x1a\n"sv)) return {PictureFormat::kPng, ""};
  if (has(start, 0, "\xff\xd8\xff"sv)) return {PictureFormat::kJpeg, ""};
  // Two zero bytes, the number type (8 to 14), and the number of dimensions.
  if (start.size() >= 4 && has(start, 0, "\0\0"sv) && start[2] >= 8 && start[2] <= 14 && start[3] >= 1 &&
      start[3] <= 4) {
    if (start[3] == 1) return {PictureFormat::kOther, "an IDX file of labels"};
    return {PictureFormat::kIdx, ""};
  }
  return {PictureFormat::kOther, name_of(start)};
}

KnownFile format_of_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    fail(ExitCode::kData, "{}: a folder; name the pictures that are in it", path.string());
  const std::string start = start_of(path);
  KnownFile file = format_of(start);
  if (!has(start, 0, "\x1f\x8b"sv)) return file;
  GzipReader reader(path);
  std::array<std::uint8_t, kTellingBytes> unpacked;
  const std::size_t size = reader.read(unpacked);
  if (size == 0) fail(ExitCode::kData, "{}: this .gz file has no content", path.string());
  const KnownFile inner = format_of({reinterpret_cast<const char*>(unpacked.data()), size});
  if (inner.format == PictureFormat::kIdx) return inner;
  const char* picture = inner.format == PictureFormat::kPng    ? "a PNG"
                        : inner.format == PictureFormat::kJpeg ? "a JPEG"
                                                               : nullptr;
  file.name = fmt::format("{}, packed with gzip", picture != nullptr ? picture : inner.name);
  return file;
}

Picture read_picture(const std::filesystem::path& path, PictureFormat format) {
  const std::vector<std::byte> bytes = read_file(path, kMaxFileBytes);
  return format == PictureFormat::kPng ? read_png(path.string(), bytes) : read_jpeg(path.string(), bytes);
}

}  // namespace distmnist
