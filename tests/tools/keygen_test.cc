#include "tools/keygen.h"

#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "lib/base/file.h"
#include "lib/wire/key_file.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_of(const std::vector<KeyFolderPlan>& plan) {
  std::vector<std::string> names;
  for (const KeyFolderPlan& each : plan) {
    std::string name = each.name;
    for (const KeyOwner& owner : each.owners) name += fmt::format(" {}", file_name_of(owner));
    names.push_back(name);
  }
  return names;
}

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("each task and the administrator get a folder") {
  CHECK(names_of(plan_of_tasks("ps:1,worker:2")) ==
        Names{"ps-0 ps-0", "worker-0 worker-0", "worker-1 worker-1", "admin admin"});
  CHECK(names_of(plan_of_tasks("worker:1,ps:1")) == names_of(plan_of_tasks("ps:1,worker:1")));
  CHECK(names_of(plan_of_tasks("ps:1")) == Names{"ps-0 ps-0", "admin admin"});
  for (const char* tasks : {"", "ps", "ps:", "ps:0", "ps:-1", "ps:1x", "ps:99999999999", "ps:257", "ps:200,worker:200",
                            "worker:3", "ps:1,ps:1", "ps:1,", ",ps:1", "chief:1,ps:1", "ps:1 worker:1", "PS:1"}) {
    INFO(tasks);
    CHECK(fails_with(ExitCode::kUsage, "tasks", [&] { plan_of_tasks(tasks); }));
  }
}

TEST_CASE("each host gets a folder with the keys of all its tasks") {
  ClusterSpec cluster;
  cluster.ps = {{"10.0.0.1", 1}, {"Beta", 1}};
  cluster.workers = {{"beta", 2}, {"10.0.0.1", 2}, {}, {"::1", 3}};
  CHECK(names_of(plan_of_hosts(cluster)) ==
        Names{"10.0.0.1 ps-0 worker-1", "beta ps-1 worker-0", "::1 worker-3", "admin admin"});
  for (const char* host : {"..", ".", ".hidden", "a/b", "admin", "Admin"}) {
    cluster.ps = {{host, 1}};
    CHECK(fails_with(ExitCode::kUsage, "the host", [&] { plan_of_hosts(cluster); }));
  }
}

TEST_CASE("created files are private to this user, whatever the umask") {
  const TempDir temporary;
  for (const mode_t mask : {0, 022, 077}) {
    const mode_t before = umask(mask);
    const fs::path folder = temporary / std::to_string(mask);
    write_key_folders(folder, plan_of_tasks("ps:1,worker:1"));
    umask(before);
    CHECK(mode_of(folder) == 0700);
    CHECK(files_in(folder) == std::set<std::string>{"ps-0", "worker-0", "admin"});
    for (const char* task : {"ps-0", "worker-0", "admin"}) {
      CHECK(mode_of(folder / task) == 0700);
      CHECK(files_in(folder / task) ==
            std::set<std::string>{"ps-0.key", "worker-0.key", "admin.key", std::string(task) + ".key_secret"});
      CHECK(mode_of(folder / task / (std::string(task) + ".key_secret")) == 0600);
      CHECK((mode_of(folder / task / "ps-0.key") & 0022) == 0);
    }
  }
  CHECK(files_in(temporary.path()).size() == 3);  // and no temporary file
}

TEST_CASE("keys are different each time and for each task") {
  const TempDir temporary;
  std::set<Key> keys;
  for (const char* run : {"a", "b"}) {
    write_key_folders(temporary / run, plan_of_tasks("ps:2,worker:2"));
    for (const char* task : {"ps-0", "ps-1", "worker-0", "worker-1", "admin"}) {
      const fs::path file = temporary / run / task / (std::string(task) + ".key_secret");
      const KeyFile key = read_key_text(read_text_file(file, kMaxKeyFileBytes));
      CHECK(key.fault.empty());
      keys.insert(key.pair.public_key);
      keys.insert(key.pair.secret_key);
    }
  }
  CHECK(keys.size() == 20);
}

TEST_CASE("existing files are never overwritten") {
  const TempDir temporary;
  const fs::path folder = temporary / "keys";
  const auto plan = plan_of_tasks("ps:1");
  write_key_folders(folder, plan);
  const std::string secret = read_text_file(folder / "ps-0" / "ps-0.key_secret", kMaxKeyFileBytes);
  CHECK(fails_with(ExitCode::kConflict, "never overwritten", [&] { write_key_folders(folder, plan); }));
  fs::create_directory_symlink(folder, temporary / "link");
  CHECK(fails_with(ExitCode::kConflict, "never overwritten", [&] { write_key_folders(temporary / "link", plan); }));
  CHECK(read_text_file(folder / "ps-0" / "ps-0.key_secret", kMaxKeyFileBytes) == secret);
  write_text_file(temporary / "file", "x");
  CHECK(fails_with(ExitCode::kUsage, "is not a folder", [&] { write_key_folders(temporary / "file", plan); }));
  fs::create_symlink(temporary / "nowhere", temporary / "broken");
  CHECK(fails_with(ExitCode::kUsage, "which does not exist", [&] { write_key_folders(temporary / "broken", plan); }));
  CHECK(fails_with(ExitCode::kUsage, "make it first", [&] { write_key_folders(temporary / "a" / "b", plan); }));
  CHECK(fails_with(ExitCode::kUsage, "is empty", [&] { write_key_folders("", plan); }));
  CHECK(files_in(temporary.path()) == std::set<std::string>{"keys", "link", "file", "broken"});
}

TEST_CASE("an empty folder is accepted and made private, also through a link") {
  const TempDir temporary;
  fs::create_directory(temporary / "empty");
  fs::create_directory_symlink(temporary / "empty", temporary / "link");
  REQUIRE(chmod((temporary / "empty").c_str(), 0777) == 0);
  write_key_folders(temporary / "link", plan_of_tasks("ps:1"));
  CHECK(fs::is_symlink(temporary / "link"));
  CHECK(mode_of(temporary / "empty") == 0700);
  CHECK(fs::exists(temporary / "empty" / "ps-0" / "ps-0.key"));
  write_key_folders((temporary / "slash").string() + "/", plan_of_tasks("ps:1"));
  CHECK(fs::exists(temporary / "slash" / "ps-0"));
}

}  // namespace distmnist
