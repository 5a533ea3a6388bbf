#include "data/gzip_reader.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * i >> 3);
  return bytes;
}

}  // namespace

TEST_CASE("decompressed bytes can be read in pieces of any size up to the end") {
  const TempDir dir;
  const Bytes bytes = counting(300000);
  write_bytes(dir / "file.gz", gzip(bytes));
  for (const std::size_t piece : {std::size_t{7}, std::size_t{4096}, std::size_t{299999}, std::size_t{1000000}}) {
    GzipReader reader(dir / "file.gz");
    Bytes all, part(piece);
    while (const std::size_t got = reader.read(part))
      all.insert(all.end(), part.begin(), part.begin() + std::ptrdiff_t(got));
    CHECK(all == bytes);
    CHECK(reader.read(part) == 0);
    CHECK(reader.compressed_offset() == std::filesystem::file_size(dir / "file.gz"));
  }
}

TEST_CASE("consecutive gzip members are read as one file") {
  const TempDir dir;
  const Bytes first = counting(1000), second = counting(50);
  Bytes file = gzip(first);
  for (const std::uint8_t byte : gzip(second)) file.push_back(byte);
  write_bytes(dir / "file.gz", file);
  GzipReader reader(dir / "file.gz");
  Bytes all(2000);
  REQUIRE(reader.read(all) == 1050);
  CHECK(std::equal(first.begin(), first.end(), all.begin()));
  CHECK(std::equal(second.begin(), second.end(), all.begin() + 1000));
}

TEST_CASE("bytes after a member that are neither a member nor zeros are reported with their offset") {
  const TempDir dir;
  const Bytes member = gzip(counting(100));
  for (const std::size_t zeros : {std::size_t{0}, std::size_t{1}, std::size_t{200'000}}) {
    Bytes file = member;
    file.insert(file.end(), zeros, 0);
    const std::size_t junk_at = file.size();
    file.insert(file.end(), {'j', 'u', 'n', 'k'});
    write_bytes(dir / "file.gz", file);
    GzipReader reader(dir / "file.gz");
    Bytes all(200);
    CHECK(fails_with(ExitCode::kData, "at offset " + std::to_string(junk_at) + ";", [&] { reader.read(all); }));
  }
}

TEST_CASE("zeros after the last member are not data") {
  const TempDir dir;
  const Bytes first = counting(1000), second = counting(50);
  for (const std::size_t zeros : {std::size_t{1}, std::size_t{511}, std::size_t{200'000}}) {
    Bytes file = gzip(first);
    for (const std::uint8_t byte : gzip(second)) file.push_back(byte);
    file.insert(file.end(), zeros, 0);
    write_bytes(dir / "file.gz", file);
    GzipReader reader(dir / "file.gz");
    Bytes all(2000);
    CHECK(reader.read(all) == 1050);
    CHECK(reader.read(all) == 0);
    CHECK(reader.read(std::span(all).first(1)) == 0);
  }
}

TEST_CASE("a truncated file returns the data before the cut and then an error with the file's name") {
  const TempDir dir;
  const Bytes bytes = counting(300000);
  Bytes file = gzip(bytes);
  file.resize(file.size() / 2);
  write_bytes(dir / "file.gz", file);
  GzipReader reader(dir / "file.gz");
  Bytes start(1000), rest(300000);
  REQUIRE(reader.read(start) == 1000);
  CHECK(std::equal(start.begin(), start.end(), bytes.begin()));
  CHECK(fails_with(ExitCode::kData, "ends at offset " + std::to_string(file.size()), [&] { reader.read(rest); }));
}

TEST_CASE("a missing file is reported with its name") {
  CHECK(fails_with(ExitCode::kData, "/nonexistent/file.gz", [] { GzipReader("/nonexistent/file.gz"); }));
}
