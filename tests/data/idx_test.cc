#include "data/idx.h"

#include <array>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/faults.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

Bytes idx_bytes(const std::vector<std::int64_t>& dimensions, const Bytes& data) {
  Bytes bytes = idx_header(dimensions);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

// Four 2x3 images that compress badly.
Bytes four_images() {
  Bytes data(4 * 2 * 3);
  Random random(1, 2);
  for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next());
  return data;
}
Bytes image_file() {
  return idx_bytes({4, 2, 3}, four_images());
}

Bytes contents(const IdxArray& array) {
  return {array.data.begin(), array.data.end()};
}

// The text after the file's name in the Error from reading `bytes` as a file. Empty if the read does not fail with a
// data error that starts with the name.
std::string read_error(const Bytes& bytes, IdxKind kind = IdxKind::kImages) {
  const TempDir dir;
  const std::string path = (dir / "some-file").string();
  write_bytes(path, bytes);
  const auto error = error_of([&] { read_idx(path, kind); });
  if (!error || error->code() != ExitCode::kData) return "";
  const std::string message = error->what();
  return message.starts_with(path) ? message.substr(path.size()) : "";
}

bool says(const std::string& message, const std::string& words) {
  return message.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("a plain file is mapped with its dimensions and data") {
  const TempDir dir;
  write_bytes(dir / "images", image_file());
  const IdxArray array = read_idx(dir / "images", IdxKind::kImages);
  CHECK(array.dimensions == std::vector<std::int64_t>{4, 2, 3});
  CHECK(contents(array) == four_images());
}

TEST_CASE("a gzip file is recognized by its content, whatever its name") {
  const TempDir dir;
  write_bytes(dir / "images", gzip(image_file()));
  const IdxArray array = read_idx(dir / "images", IdxKind::kImages);
  CHECK(array.dimensions == std::vector<std::int64_t>{4, 2, 3});
  CHECK(contents(array) == four_images());
}

TEST_CASE("the data stays valid after the file and all other copies are gone") {
  const TempDir dir;
  for (const bool compressed : {false, true}) {
    write_bytes(dir / "images", compressed ? gzip(image_file()) : image_file());
    IdxArray copy;
    {
      const IdxArray array = read_idx(dir / "images", IdxKind::kImages);
      copy = array;
    }
    std::filesystem::remove(dir / "images");
    CHECK(contents(copy) == four_images());
  }
}

TEST_CASE("errors about a missing file, a folder and a named pipe name the path") {
  const TempDir dir;
  mkfifo((dir / "pipe").c_str(), 0600);
  for (const auto& path : {dir / "absent", dir.path(), dir / "pipe"}) {
    CHECK(fails_with(ExitCode::kData, path.string(), [&] { read_idx(path, IdxKind::kImages); }));
  }
}

TEST_CASE("a different kind of file is recognized by its magic number") {
  CHECK(says(read_error(image_file(), IdxKind::kLabels), "magic number 0x00000803 at offset 0"));
  CHECK(says(read_error(idx_bytes({3}, {1, 2, 3})), "magic number 0x00000801 at offset 0"));
  const std::string html = "<html>404 Not Found</html>";
  CHECK(says(read_error({html.begin(), html.end()}), "magic number 0x3c68746d at offset 0"));
  CHECK(says(read_error(gzip({html.begin(), html.end()})), "magic number"));
}

TEST_CASE("a truncated plain file is reported with the offset, wherever it was cut") {
  const Bytes whole = image_file();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string error = read_error({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    CHECK(says(error, "truncated at offset " + std::to_string(size)));
  }
}

TEST_CASE("a truncated gzip file is reported with the compressed offset, wherever it was cut") {
  const Bytes whole = gzip(image_file());
  for (std::size_t size = 2; size < whole.size(); ++size) {
    const std::string error = read_error({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    CHECK(says(error, "truncated"));
    CHECK(says(error, "offset " + std::to_string(size)));
  }
}

TEST_CASE("any flipped bit in a gzip file's data or checksum is detected") {
  const Bytes whole = gzip(image_file());
  constexpr std::size_t kGzipHeader = 10;  // time stamp and operating system are not protected
  for (std::size_t i = kGzipHeader; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes flipped = whole;
      flipped[i] ^= static_cast<std::uint8_t>(1 << bit);
      CHECK(says(read_error(flipped), "offset"));
    }
  }
}

TEST_CASE("bytes after the data are an error with the offset") {
  Bytes longer = image_file();
  longer.push_back(0);
  CHECK(says(read_error(longer), "1 unexpected bytes after the data, from offset 40"));
  CHECK(says(read_error(gzip(longer)), "unexpected bytes after the data, from decompressed offset 40"));
}

TEST_CASE("an intact gzip file with less data than the header's count is an error") {
  Bytes shorter = image_file();
  shorter.pop_back();
  CHECK(says(read_error(gzip(shorter)), "truncated at decompressed offset 39"));
}

TEST_CASE("a malicious header is refused before anything is allocated") {
  for (const auto& dimensions : std::vector<std::vector<std::int64_t>>{{0xffffffff, 0xffffffff, 0xffffffff},
                                                                       {0x10000, 0x10000, 0x10000},
                                                                       {kMaxIdxBytes + 1, 1, 1},
                                                                       {1, 0x8000, 0x8001}}) {
    CHECK(says(read_error(idx_bytes(dimensions, {1, 2, 3})), "more than the 1073741824 bytes"));
    CHECK(says(read_error(gzip(idx_bytes(dimensions, {1, 2, 3}))), "more than the 1073741824 bytes"));
  }
  CHECK(says(read_error(idx_bytes({0, 28, 28}, {})), "dimension 0 at offset 4"));
  CHECK(says(read_error(idx_bytes({1, 28, 0}, {})), "dimension 0 at offset 12"));
  // Within the limit, but far more than so few compressed bytes can contain.
  CHECK(says(read_error(gzip(idx_bytes({kMaxIdxBytes, 1, 1}, {1, 2, 3}))), "more than so little data can hold"));
}

TEST_CASE("labels are 0 to 9, and the first invalid one is reported with its offset") {
  const TempDir dir;
  const Bytes labels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  write_bytes(dir / "labels", idx_bytes({10}, labels));
  CHECK(contents(read_idx(dir / "labels", IdxKind::kLabels)) == labels);
  const Bytes bad = idx_bytes({4}, {1, 9, 10, 255});
  CHECK(says(read_error(bad, IdxKind::kLabels), "label 10 of item 2 at offset 10"));
  CHECK(says(read_error(gzip(bad), IdxKind::kLabels), "label 10 of item 2 at offset 10"));
}

TEST_CASE("a written file can be read back, and its header follows the format") {
  const TempDir dir;
  const Bytes data = four_images();
  write_idx(dir / "images", std::array<std::int64_t, 3>{4, 2, 3}, data);
  CHECK(read_bytes(dir / "images") == idx_bytes({4, 2, 3}, data));
  CHECK(contents(read_idx(dir / "images", IdxKind::kImages)) == data);
  CHECK(idx_header(std::array<std::int64_t, 1>{60000}) == Bytes{0, 0, 8, 1, 0, 0, 0xea, 0x60});
}

TEST_CASE("writing replaces the whole file and leaves no temporary file behind") {
  const TempDir dir;
  write_idx(dir / "labels", std::array<std::int64_t, 1>{3}, Bytes{1, 2, 3});
  const IdxArray before = read_idx(dir / "labels", IdxKind::kLabels);
  write_idx(dir / "labels", std::array<std::int64_t, 1>{2}, Bytes{7, 8});
  CHECK(contents(before) == Bytes{1, 2, 3});
  CHECK(contents(read_idx(dir / "labels", IdxKind::kLabels)) == Bytes{7, 8});
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("a full disk while writing is a resource error and keeps the old file") {
  const TempDir dir;
  const auto path = dir / "images";
  write_idx(path, std::array<std::int64_t, 3>{4, 2, 3}, four_images());
  {
    const FileSizeLimit full(1000);
    const Bytes large(5000);
    CHECK(fails_with(ExitCode::kResources, path.string(), [&] {
      write_idx(path, std::array<std::int64_t, 3>{5000, 1, 1}, large);
    }));
  }
  CHECK(contents(read_idx(path, IdxKind::kImages)) == four_images());
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("a file that cannot be written is reported with its name") {
  const TempDir dir;
  const auto path = dir / "absent" / "labels";
  CHECK(
      fails_with(ExitCode::kUsage, path.string(), [&] { write_idx(path, std::array<std::int64_t, 1>{1}, Bytes{1}); }));
}
