#include "data/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include <fmt/core.h>

#include "lib/base/lower_case.h"

namespace distmnist {
namespace {

using std::string_view_literals::operator""sv;

constexpr const char* kFetchAgain = "a failed download; fetch the file again";

struct Magic {
  std::string_view bytes;
  const char* what;
  const char* advice;
};
constexpr std::array kMagics = {
    Magic{"version https://git-lfs"sv, "a Git LFS pointer instead of the file", "git lfs pull fetches the file itself"},
    Magic{"PK\3\4"sv, "a zip archive", "unpack it, and name the folder of the unpacked files"},
    Magic{"PK\5\6"sv, "an empty zip archive", kFetchAgain},
    Magic{"7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "unpack it, and name the folder of the unpacked files"},
    Magic{"Rar!"sv, "a rar archive", "unpack it, and name the folder of the unpacked files"},
    Magic{"\xfd"
          "7zXZ\0"sv,
          "xz data", "decompress it: xz -d"},
    Magic{"BZh"sv, "bzip2 data", "decompress it: bzip2 -d"},
    Magic{"\x28\xb5\x2f\xfd"sv, "zstd data", "decompress it: zstd -d"},
    Magic{"\x04\x22\x4d\x18"sv, "lz4 data", "decompress it: lz4 -d"},
    Magic{"\x1f\x9d"sv, "compress data (.Z)", "decompress it: gzip -d"},
    Magic{"\x1f\x8b"sv, "gzip data", "decompress it: gzip -d"},
    Magic{"\x93NUMPY"sv, "a NumPy array", "only IDX files are read"},
    Magic{"\x89HDF"sv, "an HDF5 file", "only IDX files are read"},
    Magic{"PAR1"sv, "a Parquet file", "only IDX files are read"},
    Magic{"\x80\2"sv, "a Python pickle", "only IDX files are read"},
    Magic{"\x80\3"sv, "a Python pickle", "only IDX files are read"},
    Magic{"\x80\4"sv, "a Python pickle", "only IDX files are read"},
    Magic{"\x80\5"sv, "a Python pickle", "only IDX files are read"},
    Magic{"\x89PNG"sv, "a PNG picture", "an IDX file is expected here"},
    Magic{"\xff\xd8\xff"sv, "a JPEG picture", "an IDX file is expected here"},
    Magic{"\0\5\x16\7"sv, "macOS metadata of a file (AppleDouble)", "take the file without ._ in its name"},
    Magic{"\3\x08\0\0"sv, "IDX data with its bytes in reverse order", "its header has to be big-endian"},
    Magic{"\1\x08\0\0"sv, "IDX data with its bytes in reverse order", "its header has to be big-endian"},
};

const char* number_type(std::uint8_t code) {
  switch (code) {
    case 0x08:
      return "unsigned bytes";
    case 0x09:
      return "signed bytes";
    case 0x0b:
      return "16-bit integers";
    case 0x0c:
      return "32-bit integers";
    case 0x0d:
      return "floats";
    case 0x0e:
      return "doubles";
    default:
      return nullptr;
  }
}

std::optional<FileKind> other_idx(std::span<const std::uint8_t> head) {
  if (head.size() < 4 || head[0] != 0 || head[1] != 0 || head[3] == 0 || number_type(head[2]) == nullptr) {
    return std::nullopt;
  }
  const char* mixed_up = "the files seem to be mixed up";
  if (head[2] == 0x08 && head[3] == 1) return FileKind{"IDX data of labels", mixed_up};
  if (head[2] == 0x08 && head[3] == 3) return FileKind{"IDX data of images", mixed_up};
  return FileKind{fmt::format("IDX data of {} with {} dimensions", number_type(head[2]), head[3]),
                  "images are unsigned bytes with 3 dimensions, labels with 1"};
}

bool is_tar(std::string_view text) {
  return text.size() >= 262 && text.substr(257, 5) == "ustar";
}

// No control characters, and mostly ASCII.
bool is_text(std::string_view text) {
  const auto is_control = [](unsigned char c) {
    return (c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f') || c == 0x7f;
  };
  const auto others = std::ranges::count_if(text, [](unsigned char c) { return c >= 0x80; });
  return std::ranges::none_of(text, is_control) && static_cast<std::size_t>(others) <= text.size() / 2;
}

// The start of the first line, as far as it is printable.
std::string beginning_of(std::string_view text) {
  constexpr std::size_t kShown = 60;
  std::string line;
  for (const char c : text.substr(0, std::min(text.find_first_of("\r\n"), kShown))) {
    line += c >= ' ' && c <= '~' ? c : '?';
  }
  return line;
}

std::optional<FileKind> kind_of_text(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) return FileKind{"text in UTF-16", kFetchAgain};
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\f"), text.size()));
  if (text.empty() || !is_text(text)) return std::nullopt;
  if (text[0] == '<') {
    const std::string lower = lower_case(text);
    const bool html = lower.find("<html") != lower.npos || lower.find("<!doctype html") != lower.npos;
    return FileKind{html ? "an HTML page" : "an HTML or XML page", kFetchAgain};
  }
  return FileKind{fmt::format("text (\"{}\")", beginning_of(text)), kFetchAgain};
}

}  // namespace

std::optional<FileKind> kind_of_file(std::span<const std::uint8_t> head) {
  head = head.first(std::min(head.size(), kTellingBytes));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  for (const Magic& magic : kMagics) {
    if (text.starts_with(magic.bytes)) return FileKind{magic.what, magic.advice};
  }
  if (auto idx = other_idx(head)) return idx;
  if (is_tar(text)) return FileKind{"a tar archive", "unpack it, and name the folder of the unpacked files"};
  if (text.find_first_not_of('\0') == text.npos) return FileKind{"zeros", kFetchAgain};
  return kind_of_text(text);
}

}  // namespace distmnist
