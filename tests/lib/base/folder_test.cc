#include "lib/base/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/faults.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;
namespace fs = std::filesystem;

namespace {

// shut/deep/file; link and far_link lead into shut.
struct Tree {
  Tree() {
    fs::create_directories(dir / "shut" / "deep");
    write_bytes(dir / "shut" / "deep" / "file", {1});
    fs::create_symlink("shut/deep", dir / "link");
    fs::create_symlink(dir / "link", dir / "far_link");
  }
  TempDir dir;
  fs::path shut = dir / "shut";
};

}  // namespace

TEST_CASE("the folder without access permission is named, whatever path leads through it") {
  const Tree tree;
  const ClosedFolder closed(tree.shut, tree.dir.path());
  REQUIRE(closed.works());
  CHECK(closed_folder(tree.shut) == tree.shut);
  CHECK(closed_folder(tree.shut / "deep") == tree.shut);
  CHECK(closed_folder(tree.shut / "deep" / "file") == tree.shut);
  CHECK(closed_folder(tree.shut / "absent") == tree.shut);
  CHECK(closed_folder(tree.dir / "link") == tree.shut);
  CHECK(closed_folder(tree.dir / "far_link" / "file") == tree.shut);
  CHECK_FALSE(closed_folder(tree.dir.path()));
  CHECK_FALSE(closed_folder(tree.dir / "absent" / "more"));
  const std::string says = "cannot look into " + tree.shut.string() + ": Permission denied";
  CHECK(fails_with(ExitCode::kData, says, [&] { require_open(tree.shut / "deep"); }));
  CHECK(fails_with(ExitCode::kData, says, [&] { list_folder(tree.shut / "deep"); }));
  CHECK(fails_with(ExitCode::kData, says, [&] { open_for_reading(tree.dir / "link" / "file"); }));
}

TEST_CASE("a folder is listed by name, with the targets of its links") {
  const TempDir dir;
  fs::create_directory(dir / "b");
  write_bytes(dir / "c", {1});
  fs::create_symlink("b", dir / "a");
  fs::create_symlink("nowhere", dir / "d");
  fs::create_symlink("e", dir / "e");
  std::string all;
  for (const FolderEntry& entry : list_folder(dir.path()))
    all += entry.name + std::to_string(static_cast<int>(entry.kind));
  CHECK(all == "a1b1c0d2e2");
  CHECK(fails_with(ExitCode::kData, "cannot look into " + (dir / "x").string() + ": No such file",
                   [&] { list_folder(dir / "x"); }));
  CHECK(fails_with(ExitCode::kData, "Not a directory", [&] { list_folder(dir / "c"); }));
}

TEST_CASE("opening a folder or a dangling link as a file is reported as such") {
  const TempDir dir;
  fs::create_symlink("nowhere", dir / "link");
  CHECK(fails_with(ExitCode::kData, "it is a link to nowhere, which does not exist",
                   [&] { open_for_reading(dir / "link"); }));
  CHECK(fails_with(ExitCode::kData, "it is a folder", [&] { open_for_reading(dir.path()); }));
}

TEST_CASE("a folder is private if this user owns it and no other user can write it") {
  const TempDir dir;
  const mode_t old = umask(0);
  create_private_folders(dir / "a" / "b");
  umask(old);
  CHECK_FALSE(why_not_private(dir / "a"));
  CHECK_FALSE(why_not_private(dir / "a" / "b"));
  CHECK_FALSE(why_not_private(dir / "a" / "missing" / "more"));
  for (const fs::perms shared : {fs::perms::group_write, fs::perms::others_write}) {
    fs::permissions(dir / "a" / "b", fs::perms::owner_all | shared);
    CHECK(why_not_private(dir / "a" / "b")->find("can be written by others") == 0);
  }
}

TEST_CASE("a folder of a different user, a new folder inside it and a link to it are not private") {
  if (geteuid() != 0) SKIP_CASE("only root can change the owner of a folder");
  const TempDir dir;
  fs::create_directory(dir / "theirs");
  fs::create_directory_symlink("theirs", dir / "link");
  REQUIRE(chown((dir / "theirs").c_str(), 65534, 65534) == 0);
  for (const char* path : {"theirs", "link"}) {
    CHECK(why_not_private(dir / path) == "belongs to another user (uid 65534)");
  }
  CHECK(why_not_private(dir / "theirs" / "cache" / "mine")->find("would be made in " + (dir / "theirs").string()) == 0);
  write_bytes(dir / "file", {1});
  CHECK(open_for_reading(dir / "file").is_private);
  REQUIRE(chown((dir / "file").c_str(), 65534, 65534) == 0);
  CHECK_FALSE(open_for_reading(dir / "file").is_private);
}

TEST_CASE("paths are split into parts, and dangling links are detected") {
  CHECK(parent_folder("a/b") == "a");
  CHECK(parent_folder("b") == ".");
  CHECK(parent_folder("/b") == "/");
  CHECK(without_slash("a/b/") == "a/b");
  CHECK(without_slash("a") == "a");
  CHECK(without_slash("/") == "/");
  const TempDir dir;
  fs::create_symlink("gone", dir / "broken");
  fs::create_symlink(".", dir / "whole");
  CHECK(broken_link(dir / "broken") == fs::path("gone"));
  CHECK(!broken_link(dir / "whole"));
  CHECK(!broken_link(dir / "neither"));
}
