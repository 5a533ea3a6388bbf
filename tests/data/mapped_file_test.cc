#include "data/mapped_file.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

TEST_CASE("the mapping has the bytes of the file, even after the file was removed") {
  const TempDir dir;
  write_bytes(dir / "file", {1, 2, 3});
  const MappedFile mapped(dir / "file");
  std::filesystem::remove(dir / "file");
  CHECK(Bytes(mapped.bytes().begin(), mapped.bytes().end()) == Bytes{1, 2, 3});
}

TEST_CASE("released pages have the same bytes when they are read again") {
  const TempDir dir;
  const Bytes bytes(100'000, 5);
  write_bytes(dir / "file", bytes);
  const MappedFile mapped(dir / "file");
  CHECK(Bytes(mapped.bytes().begin(), mapped.bytes().end()) == bytes);
  mapped.let_pages_go();
  CHECK(Bytes(mapped.bytes().begin(), mapped.bytes().end()) == bytes);
}

TEST_CASE("an empty file has no bytes") {
  const TempDir dir;
  write_bytes(dir / "file", {});
  const MappedFile mapped(dir / "file");
  CHECK(mapped.bytes().empty());
  mapped.let_pages_go();
}

TEST_CASE("a missing file and a folder are data errors that name the path") {
  const TempDir dir;
  for (const auto& path : {dir / "absent", dir.path()}) {
    CHECK(fails_with(ExitCode::kData, path.string(), [&] { MappedFile{path}; }));
  }
}
