#include "lib/base/file.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>

#include "lib/base/bytes.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/faults.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

int count_files(const std::filesystem::path& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

void write_bytes(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("a file is replaced as a whole, and only by commit") {
  const TempDir dir;
  const auto path = dir / "file";
  write_text_file(path, "old");
  {
    AtomicFile file(path);
    file.write(bytes_of("new "));
    file.write(bytes_of("content"));
    CHECK(read_text_file(path, 100) == "old");
    file.commit();
  }
  CHECK(read_text_file(path, 100) == "new content");
  CHECK(count_files(dir.path()) == 1);
}

TEST_CASE("without commit the old file stays and no temporary file remains") {
  const TempDir dir;
  write_text_file(dir / "file", "old");
  {
    AtomicFile file(dir / "file");
    file.write(bytes_of("new"));
  }
  CHECK(read_text_file(dir / "file", 100) == "old");
  CHECK(count_files(dir.path()) == 1);
}

TEST_CASE("a write beyond the file size limit is a resource error and keeps the old file") {
  const TempDir dir;
  const auto path = dir / "file";
  write_text_file(path, "old");
  {
    const FileSizeLimit limit(4096);
    CHECK(fails_with(ExitCode::kResources, path.string(), [&] { write_text_file(path, std::string(10000, 'x')); }));
  }
  CHECK(read_text_file(path, 100) == "old");
  CHECK(count_files(dir.path()) == 1);
}

TEST_CASE("a full file system is a resource error and keeps the old file") {
  const TempDir dir;
  if (mount("none", dir.path().c_str(), "tmpfs", 0, "size=64k") != 0)
    SKIP_CASE("mounting a small file system needs root");
  const auto path = dir / "file";
  write_text_file(path, "old");
  CHECK(fails_with(ExitCode::kResources, errno_text(ENOSPC), [&] { write_text_file(path, std::string(100000, 'x')); }));
  CHECK(read_text_file(path, 100) == "old");
  CHECK(count_files(dir.path()) == 1);
  CHECK(umount(dir.path().c_str()) == 0);
}

TEST_CASE("a folder that is read-only, missing or not a folder is a usage error") {
  const TempDir dir;
  CHECK(fails_with(ExitCode::kUsage, errno_text(ENOENT), [&] { write_text_file(dir / "missing/file", "x"); }));
  std::filesystem::create_directory(dir / "taken");
  CHECK(fails_with(ExitCode::kUsage, errno_text(EISDIR), [&] { write_text_file(dir / "taken", "x"); }));
  CHECK(count_files(dir.path()) == 1);

  std::filesystem::create_directory(dir / "locked");
  const ReadOnlyFolder read_only(dir / "locked");
  if (!read_only.works()) SKIP_CASE("this process cannot give up root's rights");
  CHECK(fails_with(ExitCode::kUsage, errno_text(EACCES), [&] { write_text_file(dir / "locked/file", "x"); }));
}

TEST_CASE("a file that is missing, a folder, a pipe or larger than expected is a data error") {
  const TempDir dir;
  CHECK(fails_with(ExitCode::kData, errno_text(ENOENT), [&] { read_file(dir / "missing", 10); }));
  CHECK(fails_with(ExitCode::kData, "not a regular file", [&] { read_file(dir.path(), 10); }));
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK(fails_with(ExitCode::kData, "not a regular file", [&] { read_file(dir / "pipe", 10); }));
  write_bytes(dir / "file", "12345");
  CHECK(fails_with(ExitCode::kData, "has 5 bytes, but at most 4", [&] { read_file(dir / "file", 4); }));
  CHECK(read_text_file(dir / "file", 5) == "12345");
}

TEST_CASE("a file that ends early is reported with the offset") {
  const TempDir dir;
  write_bytes(dir / "file", "12345");
  const InputFile file = open_for_reading(dir / "file");
  CHECK(file.size_bytes == 5);
  std::array<std::byte, 4> bytes;
  CHECK(fails_with(ExitCode::kData, "ends at offset 5, 1 bytes early", [&] { read_at(file, dir / "file", 2, bytes); }));
  read_at(file, dir / "file", 1, bytes);
  CHECK(text_of(bytes) == "2345");
}

TEST_CASE("temporary files of a killed writer are removed, those of a running one are not") {
  const TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    AtomicFile abandoned(dir / "file");
    abandoned.write(bytes_of("half"));
    raise(SIGKILL);
  }
  waitpid(child, nullptr, 0);
  AtomicFile living(dir / "file");
  living.write(bytes_of("whole"));
  write_bytes(dir / "other", "x");
  REQUIRE(count_files(dir.path()) == 3);

  CHECK(remove_stale_temporaries(dir.path()) == 1);
  CHECK(count_files(dir.path()) == 2);
  living.commit();
  CHECK(read_text_file(dir / "file", 100) == "whole");
  CHECK(remove_stale_temporaries(dir.path()) == 0);
  CHECK(remove_stale_temporaries(dir / "missing") == 0);
}
