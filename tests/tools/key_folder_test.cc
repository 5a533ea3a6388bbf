#include "tools/key_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "lib/base/file.h"
#include "lib/wire/key_file.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tools/keygen.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;
using enum KeyOwner::Role;

constexpr KeyOwner kPs0{kPs, 0}, kWorker0{kWorker, 0}, kWorker1{kWorker, 1}, kAdministrator{kAdmin, 0};

// Keys of one ps and two workers, with a folder for each.
struct Keys {
  Keys() { write_key_folders(folder, plan_of_tasks("ps:1,worker:2")); }
  fs::path of(const std::string& task) const { return folder / task; }

  TempDir temporary;
  fs::path folder = temporary / "keys";
};

bool refused(const fs::path& folder, const KeyOwner& self, const std::string& says) {
  const auto error = error_of([&] { read_task_keys(folder, self); });
  if (!error) return false;
  INFO(error->what());
  const bool right = error->code() == ExitCode::kSecurity && std::string(error->what()).find(says) != std::string::npos;
  CHECK(right);
  return right;
}
bool accepted(const fs::path& folder, const KeyOwner& self) {
  return !error_of([&] { read_task_keys(folder, self); });
}

void set_mode(const fs::path& path, mode_t mode) {
  REQUIRE(chmod(path.c_str(), mode) == 0);
}

ClusterSpec cluster_of(std::size_t num_workers) {
  ClusterSpec cluster;
  cluster.ps = {{"localhost", 1}};
  for (std::size_t k = 0; k < num_workers; ++k)
    cluster.workers.push_back({"localhost", static_cast<std::uint16_t>(2 + k)});
  return cluster;
}

void write_secret(const fs::path& path, const KeyOwner& owner, const KeyPair& pair) {
  fs::remove(path);
  write_text_file(path, secret_key_text(owner, pair).text);
  set_mode(path, 0600);
}

}  // namespace

TEST_CASE("each task finds its own key and the keys that it needs") {
  const Keys keys;
  const TaskKeys worker = read_task_keys(keys.of("worker-1"), kWorker1);
  CHECK(public_key_of(worker.own.secret_key) == worker.own.public_key);
  CHECK(worker.known.at(kWorker1) == worker.own.public_key);
  CHECK(worker.known.size() == 4);

  const ServerKeys ps = server_keys(keys.of("ps-0"), 0, cluster_of(2), false);
  CHECK(ps.own.public_key == worker.known.at(kPs0));
  CHECK(ps.known.at(worker.own.public_key) == kWorker1);
  CHECK(ps.known.at(worker.known.at(kAdministrator)) == kAdministrator);
  CHECK(ps.known.size() == 3);
  CHECK_FALSE(ps.known.contains(ps.own.public_key));  // a ps is not a client of a ps

  const std::vector<ClientKeys> to_ps = client_keys(keys.of("worker-1"), kWorker1, 1);
  REQUIRE(to_ps.size() == 1);
  CHECK(to_ps[0].own.secret_key == worker.own.secret_key);
  CHECK(to_ps[0].server == ps.own.public_key);
}

TEST_CASE("a ps admits only the workers of its cluster, and with any_worker every owner of a worker's key") {
  const Keys keys;
  const Key worker1 = read_task_keys(keys.folder, kWorker1).own.public_key;
  CHECK_FALSE(server_keys(keys.folder, 0, cluster_of(1), false).known.contains(worker1));
  CHECK(server_keys(keys.folder, 0, cluster_of(1), true).known.contains(worker1));
  CHECK(server_keys(keys.folder, 0, cluster_of(0), true).known.size() == 3);
  ClusterSpec numbered = cluster_of(2);
  numbered.workers[0] = {};  // a description with numbered tasks omits this one
  CHECK(server_keys(keys.folder, 0, numbered, false).known.size() == 2);
}

TEST_CASE("on one host the common folder can be given, whichever way it was created") {
  const Keys keys;
  for (const KeyOwner& owner : {kPs0, kWorker0, kWorker1, kAdministrator}) CHECK(accepted(keys.folder, owner));
  ClusterSpec cluster = cluster_of(1);
  cluster.workers.push_back({"10.0.0.7", 2});
  const fs::path by_host = keys.temporary / "by_host";
  write_key_folders(by_host, plan_of_hosts(cluster));
  for (const KeyOwner& owner : {kPs0, kWorker0, kWorker1, kAdministrator}) CHECK(accepted(by_host, owner));
  CHECK(accepted(by_host / "localhost", kPs0));
  CHECK(accepted(by_host / "localhost", kWorker0));
  CHECK(refused(by_host / "localhost", kWorker1, "worker-1.key_secret is neither in"));
  CHECK(refused(by_host / "10.0.0.7", kWorker0, "it has the secret of worker-1"));
}

TEST_CASE("a secret or its folder that other users can read or write is refused") {
  const Keys keys;
  const fs::path folder = keys.of("worker-1"), secret = folder / "worker-1.key_secret";
  for (const mode_t mode : {0640, 0620, 0604, 0602, 0666, 0440, 0644}) {
    set_mode(secret, mode);
    CHECK(refused(folder, kWorker1, "chmod 600 " + secret.string()));
  }
  for (const mode_t mode : {0600, 0400, 0700}) {
    set_mode(secret, mode);
    CHECK(accepted(folder, kWorker1));
  }
  for (const mode_t mode : {0750, 0720, 0705, 0702, 0755, 0777, 01777}) {
    set_mode(folder, mode);
    CHECK(refused(folder, kWorker1, "chmod 700 " + folder.string()));
    CHECK(refused(keys.folder, kWorker1, "chmod 700 " + folder.string()));
  }
  set_mode(folder, 0700);
  set_mode(keys.folder, 0755);
  CHECK(refused(keys.folder, kWorker1, "chmod 700 " + keys.folder.string()));
}

TEST_CASE("a folder without keys does not have to be private") {
  const Keys keys;
  const fs::path other = keys.temporary / "other";
  fs::create_directory(other);
  set_mode(other, 0755);
  CHECK(refused(other, kWorker1, "worker-1.key_secret is neither in"));
}

TEST_CASE("a public key that other users can write is refused, because they could replace it") {
  const Keys keys;
  const fs::path folder = keys.of("worker-1"), file = folder / "ps-0.key";
  for (const mode_t mode : {0664, 0646, 0666}) {
    set_mode(file, mode);
    CHECK(refused(folder, kWorker1, "chmod go-w " + file.string()));
  }
  set_mode(file, 0444);
  CHECK(accepted(folder, kWorker1));
}

TEST_CASE("links are followed, and their targets must meet the same rules") {
  const Keys keys;
  const fs::path folder = keys.of("worker-1"), secret = folder / "worker-1.key_secret";
  const fs::path elsewhere = keys.temporary / "elsewhere";
  fs::create_directory(elsewhere);
  set_mode(elsewhere, 0700);
  fs::rename(secret, elsewhere / "secret");
  fs::create_symlink(elsewhere / "secret", secret);
  CHECK(accepted(folder, kWorker1));
  set_mode(elsewhere / "secret", 0644);
  CHECK(refused(folder, kWorker1, "can be read by others"));
  set_mode(elsewhere / "secret", 0600);
  set_mode(elsewhere, 0777);
  CHECK(refused(folder, kWorker1, elsewhere.string() + " can be written by others"));
  fs::remove_all(elsewhere);
  CHECK(refused(folder, kWorker1, "which does not exist"));

  fs::create_directory_symlink(keys.of("ps-0"), keys.temporary / "link");
  CHECK(accepted(keys.temporary / "link", kPs0));
  set_mode(keys.of("ps-0"), 0755);
  CHECK(refused(keys.temporary / "link", kPs0, "can be read by others"));
}

TEST_CASE("root can use any user's keys, but a different user's folder is refused") {
  if (geteuid() != 0) SKIP_CASE("only root can change the owner of a file");
  constexpr uid_t kUs = 65534, kOther = 65533;
  const Keys keys;
  const fs::path folder = keys.of("worker-1");
  REQUIRE(chown((folder / "worker-1.key_secret").c_str(), kUs, kUs) == 0);
  REQUIRE(chown(folder.c_str(), kOther, kOther) == 0);
  CHECK(accepted(folder, kWorker1));
  for (const fs::path& on_the_way : {keys.temporary.path(), keys.folder, folder}) set_mode(on_the_way, 0711);
  REQUIRE(seteuid(kUs) == 0);
  const auto error = error_of([&] { read_task_keys(folder, kWorker1); });
  REQUIRE(seteuid(0) == 0);
  REQUIRE(error);
  CHECK(error->code() == ExitCode::kSecurity);
  CHECK(std::string(error->what()).find("belongs to another user (uid 65533)") != std::string::npos);
}

TEST_CASE("missing files are named") {
  const Keys keys;
  CHECK(refused(keys.temporary / "none", kPs0, "none: No such file or directory"));
  CHECK(refused("", kPs0, "is empty"));
  CHECK(refused(keys.of("ps-0") / "ps-0.key", kPs0, "is not a folder"));
  CHECK(refused(keys.of("ps-0"), kWorker0, "worker-0.key_secret is neither in"));
  CHECK(refused(keys.of("ps-0"), kWorker0, "it has the secret of ps-0"));
  CHECK(refused(keys.folder, {kWorker, 2}, "worker-2.key_secret"));
  fs::remove(keys.of("worker-1") / "ps-0.key");
  CHECK(fails_with(ExitCode::kSecurity, "ps-0.key, the public key of ps:0, is not in",
                   [&] { client_keys(keys.of("worker-1"), kWorker1, 1); }));
  CHECK(fails_with(ExitCode::kSecurity, "ps-1.key", [&] { client_keys(keys.of("worker-0"), kWorker0, 2); }));
  CHECK(fails_with(ExitCode::kSecurity, "worker-2.key", [&] { server_keys(keys.folder, 0, cluster_of(3), false); }));
  fs::copy(keys.of("worker-0"), keys.folder / "copy");
  set_mode(keys.folder / "copy", 0700);
  CHECK(refused(keys.folder, kWorker0, "is in copy and worker-0 of"));
}

TEST_CASE("a key belongs to one task, and its halves must match") {
  const Keys keys;
  const fs::path folder = keys.of("worker-1");
  const KeyPair other = make_key_pair();
  SECTION("two tasks have the same public key") {
    fs::copy_file(folder / "worker-0.key", folder / "ps-0.key", fs::copy_options::overwrite_existing);
    CHECK(refused(folder, kWorker1, "ps-0.key and worker-0.key in"));
  }
  SECTION("a different task has the key of this one") {
    fs::copy_file(folder / "worker-1.key", folder / "worker-0.key", fs::copy_options::overwrite_existing);
    fs::remove(folder / "worker-1.key");
    CHECK(refused(folder, kWorker1, "worker-0.key in"));
  }
  SECTION("the public file belongs to a different pair") {
    write_text_file(folder / "worker-1.key", public_key_text(kWorker1, other.public_key));
    CHECK(refused(folder, kWorker1, "worker-1.key does not match worker-1.key_secret"));
  }
  SECTION("a task does not need its own public file") {
    fs::remove(folder / "worker-1.key");
    CHECK(accepted(folder, kWorker1));
  }
  SECTION("the secret file belongs to two different pairs") {
    KeyPair mixed = make_key_pair();
    mixed.public_key = other.public_key;
    write_secret(folder / "worker-1.key_secret", kWorker1, mixed);
    CHECK(refused(folder, kWorker1, "do not belong together"));
  }
  SECTION("the secret file has no secret") {
    write_text_file(folder / "worker-1.key_secret", public_key_text(kWorker1, other.public_key));
    set_mode(folder / "worker-1.key_secret", 0600);
    CHECK(refused(folder, kWorker1, "has no secret-key"));
  }
  SECTION("a public file has a secret") {
    write_secret(folder / "ps-0.key", kPs0, other);
    CHECK(refused(folder, kWorker1, "has a secret-key in it"));
  }
  SECTION("a public key that gives every peer the same secret") {
    write_text_file(folder / "ps-0.key", public_key_text(kPs0, Key{}));
    CHECK(refused(folder, kWorker1, "is not a valid key"));
  }
}

TEST_CASE("an invalid key file is named and refused") {
  const Keys keys;
  const fs::path folder = keys.of("worker-1"), secret = folder / "worker-1.key_secret";
  fs::remove(secret);
  SECTION("empty") {
    write_text_file(secret, "");
    set_mode(secret, 0600);
    CHECK(refused(folder, kWorker1, secret.string() + " has no public-key"));
  }
  SECTION("large") {
    write_text_file(secret, std::string(kMaxKeyFileBytes + 1, '#'));
    set_mode(secret, 0600);
    CHECK(refused(folder, kWorker1, "has 4097 bytes"));
  }
  SECTION("a folder") {
    fs::create_directory(secret);
    CHECK(refused(folder, kWorker1, "it is a folder"));
  }
  SECTION("a pipe") {
    REQUIRE(mkfifo(secret.c_str(), 0600) == 0);
    CHECK(refused(folder, kWorker1, "not a regular file"));
  }
}

TEST_CASE("files that are not named after a task are ignored") {
  const Keys keys;
  for (const char* name : {"laptop.key", "worker-01.key", "worker-1.key~", "README"})
    write_text_file(keys.of("worker-1") / name, "anything");
  CHECK(accepted(keys.of("worker-1"), kWorker1));
}

}  // namespace distmnist
