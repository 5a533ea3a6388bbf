#include "data/unpacked_cache.h"

#include <array>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kManyImages = 1400;  // more than kWorthKeepingBytes

void write_gzip_images(const fs::path& path, std::uint8_t pixel, std::int64_t count = kManyImages) {
  const fs::path plain = path.string() + ".plain";
  write_idx(plain, std::array{count, std::int64_t{28}, std::int64_t{28}},
            Bytes(static_cast<std::size_t>(count * 784), pixel));
  write_bytes(path, gzip(read_bytes(plain)));
  fs::remove(plain);
}

std::vector<fs::path> copies_in(const fs::path& folder) {
  std::vector<fs::path> out;
  if (!fs::exists(folder)) return out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() != "lock") out.push_back(entry.path());
  }
  return out;
}

std::uint8_t first_pixel(const fs::path& folder, const fs::path& path) {
  return UnpackedCache(folder).read(path, IdxKind::kImages).data[0];
}

void read_and_keep(const fs::path& folder, const fs::path& path) {
  UnpackedCache cache(folder);
  cache.read(path, IdxKind::kImages);
  const BackgroundCopies copies(cache);
}

}  // namespace

TEST_CASE("a large gzip file is read from its uncompressed copy the next time") {
  const TempDir dir;
  const fs::path folder = dir / "cache" / "unpacked";
  write_gzip_images(dir / "images.gz", 7);
  read_and_keep(folder, dir / "images.gz");
  const std::vector<fs::path> copies = copies_in(folder);
  REQUIRE(copies.size() == 1);

  // This pixel differs only in the copy, so it shows which one was read.
  Bytes bytes = read_bytes(copies[0]);
  bytes[16] = 99;
  write_bytes(copies[0], bytes);
  CHECK(first_pixel(folder, dir / "images.gz") == 99);
}

TEST_CASE("the copy of a changed file is not used and is removed, even if the file's time stamp was set back") {
  const TempDir dir;
  const fs::path folder = dir / "unpacked";
  write_gzip_images(dir / "images.gz", 7);
  const auto time = fs::last_write_time(dir / "images.gz");
  read_and_keep(folder, dir / "images.gz");
  const std::vector<fs::path> former = copies_in(folder);

  write_gzip_images(dir / "images.gz", 8);
  fs::last_write_time(dir / "images.gz", time);
  CHECK(first_pixel(folder, dir / "images.gz") == 8);
  read_and_keep(folder, dir / "images.gz");
  CHECK(copies_in(folder).size() == 1);
  CHECK(copies_in(folder) != former);
}

TEST_CASE("a file that was damaged later is an error even if an intact copy exists") {
  const TempDir dir;
  const fs::path folder = dir / "unpacked";
  write_gzip_images(dir / "images.gz", 7);
  read_and_keep(folder, dir / "images.gz");
  Bytes bytes = read_bytes(dir / "images.gz");
  bytes[bytes.size() / 2] ^= 0xff;
  write_bytes(dir / "images.gz", bytes);
  CHECK(fails_with(ExitCode::kData, "images.gz", [&] { first_pixel(folder, dir / "images.gz"); }));
}

namespace {

// Changes the first pixel of a copy, so that a test can detect its use.
void plant(const fs::path& copy) {
  Bytes bytes = read_bytes(copy);
  bytes[16] = 99;
  write_bytes(copy, bytes);
}

}  // namespace

TEST_CASE("copies that other users can write are not used and are written again with access for this user only") {
  const TempDir dir;
  const fs::path folder = dir / "unpacked";
  write_gzip_images(dir / "images.gz", 7);
  const mode_t old = umask(0);
  read_and_keep(folder, dir / "images.gz");
  umask(old);
  const fs::path copy = copies_in(folder).at(0);
  const auto shared = fs::perms::group_write | fs::perms::others_write;
  CHECK((fs::status(copy).permissions() & shared) == fs::perms::none);
  CHECK((fs::status(folder).permissions() & shared) == fs::perms::none);

  plant(copy);
  fs::permissions(copy, fs::perms::others_write, fs::perm_options::add);
  CHECK(first_pixel(folder, dir / "images.gz") == 7);
  read_and_keep(folder, dir / "images.gz");
  CHECK(read_bytes(copy)[16] == 7);
}

TEST_CASE("copies that belong to a different user are not used") {
  if (geteuid() != 0) SKIP_CASE("only root can change the owner of a file");
  const TempDir dir;
  const fs::path folder = dir / "unpacked";
  write_gzip_images(dir / "images.gz", 7);
  read_and_keep(folder, dir / "images.gz");
  const fs::path copy = copies_in(folder).at(0);
  plant(copy);
  CHECK(first_pixel(folder, dir / "images.gz") == 99);
  REQUIRE(chown(copy.c_str(), 65534, 65534) == 0);
  CHECK(first_pixel(folder, dir / "images.gz") == 7);
}

TEST_CASE("a truncated copy is not used and is written again") {
  const TempDir dir;
  const fs::path folder = dir / "unpacked";
  write_gzip_images(dir / "images.gz", 7);
  read_and_keep(folder, dir / "images.gz");
  const fs::path copy = copies_in(folder).at(0);
  const auto whole = fs::file_size(copy);
  fs::resize_file(copy, whole - 1);
  CHECK(first_pixel(folder, dir / "images.gz") == 7);
  read_and_keep(folder, dir / "images.gz");
  CHECK(fs::file_size(copy) == whole);
}

TEST_CASE("small files and uncompressed files have no copies") {
  const TempDir dir;
  write_gzip_images(dir / "small.gz", 7, 3);
  write_idx(dir / "plain", std::array{kManyImages, std::int64_t{28}, std::int64_t{28}}, Bytes(kManyImages * 784, 5));
  read_and_keep(dir / "unpacked", dir / "small.gz");
  read_and_keep(dir / "unpacked", dir / "plain");
  CHECK(first_pixel(dir / "unpacked", dir / "plain") == 5);
  CHECK(copies_in(dir / "unpacked").empty());
}

TEST_CASE("while a different process writes copies, none are written") {
  const TempDir dir;
  write_gzip_images(dir / "images.gz", 7);
  fs::create_directory(dir / "unpacked");
  const FileDescriptor other(open((dir / "unpacked" / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  REQUIRE(flock(other.get(), LOCK_EX) == 0);
  read_and_keep(dir / "unpacked", dir / "images.gz");
  CHECK(copies_in(dir / "unpacked").empty());
}

TEST_CASE("the data is loaded even if no copy can be written") {
  const TempDir dir;
  write_gzip_images(dir / "images.gz", 7);
  write_bytes(dir / "unpacked", {});  // a file in place of the folder
  UnpackedCache cache(dir / "unpacked");
  const IdxArray array = cache.read(dir / "images.gz", IdxKind::kImages);
  cache.write_missing();
  CHECK(array.data[0] == 7);
}
