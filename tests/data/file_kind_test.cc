#include "data/file_kind.h"

#include <string>
#include <string_view>
#include <vector>

#include "data/idx.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;
using std::string_view_literals::operator""sv;

namespace {

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

std::string kind(std::string_view text) {
  const auto found = kind_of_file(bytes_of(text));
  return found ? found->what : "unknown";
}

Bytes tar() {
  Bytes bytes(1024);
  for (std::size_t i = 0; i < 5; ++i) bytes[i] = static_cast<std::uint8_t>("train"[i]);
  for (std::size_t i = 0; i < 5; ++i) bytes[257 + i] = static_cast<std::uint8_t>("ustar"[i]);
  return bytes;
}

}  // namespace

TEST_CASE("error pages and texts from failed downloads are recognized") {
  CHECK(kind("<html><head><title>403 Forbidden</title>") == "an HTML page");
  CHECK(kind("\xef\xbb\xbf\n  <!DOCTYPE html>\n") == "an HTML page");
  CHECK(kind("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>") == "an HTML or XML page");
  CHECK(kind("404: Not Found\nsorry") == "text (\"404: Not Found\")");
  CHECK(kind("{\"message\": \"Not Found\"}") == "text (\"{\"message\": \"Not Found\"}\")");
  CHECK(kind("\xff\xfe<\0h\0"sv) == "text in UTF-16");
  CHECK(kind("\0\0\0\0\0\0"sv) == "zeros");
  CHECK(kind("version https://git-lfs.github.com/spec/v1\noid sha256:12") == "a Git LFS pointer instead of the file");
}

TEST_CASE("archives, pictures and other formats are recognized") {
  CHECK(kind("PK\3\4....") == "a zip archive");
  CHECK(kind("\xfd"
             "7zXZ\0"sv) == "xz data");
  CHECK(kind("BZh91AY") == "bzip2 data");
  CHECK(kind("\x28\xb5\x2f\xfd...") == "zstd data");
  CHECK(kind("\x1f\x8b\x08") == "gzip data");
  CHECK(kind("\x93NUMPY\1\0"sv) == "a NumPy array");
  CHECK(kind("\x89PNG\r\n") == "a PNG picture");
  CHECK(kind("\xff\xd8\xff\xe0") == "a JPEG picture");
  CHECK(kind_of_file(tar())->what == "a tar archive");
}

TEST_CASE("IDX data of a different kind is recognized, and unknown content is not guessed") {
  CHECK(kind("\0\0\x08\1\0\0\0\5"sv) == "IDX data of labels");
  CHECK(kind("\0\0\x08\3\0\0\0\5"sv) == "IDX data of images");
  CHECK(kind("\0\0\x0d\3"sv) == "IDX data of floats with 3 dimensions");
  CHECK(kind("\3\x08\0\0"sv) == "IDX data with its bytes in reverse order");
  CHECK(kind("\1\2\3\4") == "unknown");
  CHECK(kind("\xff\xff\xff\xff\xff") == "unknown");
  CHECK(kind("\x80\x81\x82 nothing") == "text (\"??? nothing\")");  // Latin-1 or UTF-8
}

TEST_CASE("reading such a file, compressed or not, reports what it is and what to do") {
  const TempDir dir;
  const Bytes page = bytes_of("<html>403</html>");
  const auto says = [&](const Bytes& bytes, const std::string& text, IdxKind idx_kind = IdxKind::kImages) {
    write_bytes(dir / "file.gz", bytes);
    return fails_with(ExitCode::kData, (dir / "file.gz").string() + ": " + text,
                      [&] { read_idx(dir / "file.gz", idx_kind); });
  };
  CHECK(says(page,
             "an HTML page, neither gzip nor the IDX data expected here (magic number 0x3c68746d at offset 0, an IDX "
             "file of images has 0x00000803): a failed download; fetch the file again"));
  CHECK(says(gzip(page), "its gzip data is an HTML page"));
  CHECK(says(gzip(gzip(page)), "its gzip data is gzip data"));
  CHECK(says(gzip(tar()), "its gzip data is a tar archive"));
  CHECK(says(bytes_of("hi"), "text (\"hi\")"));
  CHECK(says({}, "the file is empty, truncated at offset 0"));
  CHECK(says(gzip({}), "the file is empty, truncated at offset 0"));
  write_idx(dir / "images", std::vector<std::int64_t>{1, 28, 28}, Bytes(784));
  CHECK(says(read_bytes(dir / "images"), "IDX data of images", IdxKind::kLabels));
}
