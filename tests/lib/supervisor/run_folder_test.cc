#include "lib/supervisor/run_folder.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/faults.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

void put(const std::filesystem::path& path) {
  std::ofstream(path) << path.filename().string();
}

}  // namespace

TEST_CASE("the chief uses log_dir, and every other worker a folder inside it") {
  CHECK(task_folder("logs", {"worker", 0}, true) == "logs");
  CHECK(task_folder("logs", {"worker", 1}, false) == "logs/worker_1");
  CHECK(task_folder("logs", {"ps", 0}, false) == "logs/ps_0");
}

TEST_CASE("a missing folder is created with its parents") {
  const TempDir dir;
  const RunFolder folder(dir / "a/b/c", false);
  CHECK(std::filesystem::is_directory(dir / "a/b/c"));
  CHECK(folder.path() == dir / "a/b/c");
  folder.write_config("seed = 1\n");
  folder.write_config("seed = 2\n");
  CHECK(read_text_file(dir / "a/b/c/config.toml", 100) == "seed = 2\n");
  CHECK(names_in(dir / "a/b/c") == std::set<std::string>{".lock", "config.toml"});
}

TEST_CASE("a folder in use is a conflict, and is free again when its owner has ended") {
  const TempDir dir;
  {
    const RunFolder first(dir.path(), false);
    CHECK(fails_with(ExitCode::kConflict, dir.path().string() + " is in use", [&] { RunFolder(dir.path(), false); }));
    CHECK(fails_with(ExitCode::kConflict, "is in use", [&] { RunFolder(dir.path(), true); }));
    const RunFolder worker(dir / "worker_1", false);
  }
  const RunFolder again(dir.path(), false);
}

TEST_CASE("a killed process no longer holds its folder") {
  const TempDir dir;
  int locked[2];
  REQUIRE(pipe(locked) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const RunFolder folder(dir.path(), false);
    if (write(locked[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte = 0;
  REQUIRE(read(locked[0], &byte, 1) == 1);
  CHECK(fails_with(ExitCode::kConflict, "is in use", [&] { RunFolder(dir.path(), false); }));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const RunFolder folder(dir.path(), false);
  close(locked[0]);
  close(locked[1]);
}

TEST_CASE("fresh moves the old run's files aside and nothing else") {
  const TempDir dir;
  for (const char* name : {"config.toml", "metrics.csv", "checkpoint", "model.ckpt-5.safetensors", "report.html",
                           "events.out.tfevents.1.host.2.3", "notes.txt", "model.py"}) {
    put(dir / name);
  }
  std::filesystem::create_directory(dir / "worker_1");
  put(dir / "worker_1/metrics.csv");
  { const RunFolder folder(dir.path(), true); }
  CHECK(names_in(dir.path()) == std::set<std::string>{".lock", "notes.txt", "model.py", "old-1", "worker_1"});
  CHECK(names_in(dir / "old-1") == std::set<std::string>{"config.toml", "metrics.csv", "checkpoint", "report.html",
                                                         "model.ckpt-5.safetensors", "events.out.tfevents.1.host.2.3"});
  CHECK(read_text_file(dir / "old-1/metrics.csv", 100) == "metrics.csv");
  CHECK(names_in(dir / "worker_1") == std::set<std::string>{"metrics.csv"});

  { const RunFolder nothing_to_move(dir.path(), true); }
  CHECK(names_in(dir.path()).count("old-2") == 0);
  put(dir / "metrics.csv");
  { const RunFolder not_fresh(dir.path(), false); }
  CHECK(names_in(dir.path()).count("metrics.csv") == 1);
  { const RunFolder folder(dir.path(), true); }
  CHECK(names_in(dir / "old-2") == std::set<std::string>{"metrics.csv"});
}

TEST_CASE("a file in place of the folder is a usage error") {
  const TempDir dir;
  put(dir / "file");
  CHECK(fails_with(ExitCode::kUsage, "choose a different --log_dir", [&] { RunFolder(dir / "file", false); }));
  CHECK(fails_with(ExitCode::kUsage, errno_text(ENOTDIR), [&] { RunFolder(dir / "file", false); }));
  CHECK(fails_with(ExitCode::kUsage, errno_text(ENOTDIR), [&] { RunFolder(dir / "file/below", false); }));
  std::filesystem::create_symlink("nowhere", dir / "link");
  CHECK(fails_with(ExitCode::kUsage, (dir / "link").string(), [&] { RunFolder(dir / "link", false); }));
}

TEST_CASE("a folder that cannot be written is a usage error") {
  const TempDir dir;
  const ReadOnlyFolder read_only(dir.path());
  if (!read_only.works()) SKIP_CASE("this process cannot give up root's rights");
  CHECK(fails_with(ExitCode::kUsage, errno_text(EACCES), [&] { RunFolder(dir.path(), false); }));
  CHECK(fails_with(ExitCode::kUsage, errno_text(EACCES), [&] { RunFolder(dir / "below", false); }));
}

TEST_CASE("a parent folder without access permission is named") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "shut");
  const ClosedFolder closed(dir / "shut", dir.path());
  REQUIRE(closed.works());
  CHECK(fails_with(ExitCode::kUsage, "cannot look into " + (dir / "shut").string() + ": Permission denied",
                   [&] { RunFolder(dir / "shut" / "run", false); }));
}
