#include "data/mapped_file.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

TEST_CASE("the bytes are those of the file, also after it was removed") {
  const TempDir dir;
  write_bytes(dir / "file", {1, 2, 3});
  const MappedFile mapped(dir / "file");
  std::filesystem::remove(dir / "file");
  CHECK(Bytes(mapped.bytes().begin(), mapped.bytes().end()) == Bytes{1, 2, 3});
}

TEST_CASE("an empty file has no bytes") {
  const TempDir dir;
  write_bytes(dir / "file", {});
  CHECK(MappedFile(dir / "file").bytes().empty());
}

TEST_CASE("a missing file and a folder are data errors that name the path") {
  const TempDir dir;
  for (const auto& path : {dir / "absent", dir.path()}) {
    CHECK(fails_with(ExitCode::kData, path.string(), [&] { MappedFile{path}; }));
  }
}
