#include "data/mnist_files.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/faults.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> train_images(const std::vector<std::string>& files) {
  return choose_mnist_files(files)[kTrainImages];
}

using Paths = std::vector<std::string>;

}  // namespace

TEST_CASE("the name after idx determines the role, whatever the prefix, case or compression") {
  CHECK(role_of("train-images-idx3-ubyte") == kTrainImages);
  CHECK(role_of("train-labels.idx1-ubyte") == kTrainLabels);
  CHECK(role_of("T10K-IMAGES.IDX3-UBYTE.GZ") == kTestImages);
  CHECK(role_of("t10k-labels-idx1-ubyte.gz") == kTestLabels);
}

TEST_CASE("names that only look similar have no role") {
  for (const char* name :
       {"emnist-train-images-idx3-ubyte", "train-images-idx3-ubyte.gz.part", "._train-images-idx3-ubyte",
        "train-images-idx3-ubyte (1).gz", "train-images-idx1-ubyte", "train-images-idx3-ubyte.zip",
        "test-images-idx3-ubyte", "train-images..idx3-ubyte", "train.images.idx3-ubyte", "", ".gz"}) {
    CHECK_FALSE(role_of(name).has_value());
  }
}

TEST_CASE("plain files go before compressed ones, then files outside a subfolder, then the usual name") {
  CHECK(train_images({"train-images-idx3-ubyte.gz", "train-images-idx3-ubyte/train-images.idx3-ubyte",
                      "TRAIN-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx3-ubyte"}) ==
        Paths{"train-images-idx3-ubyte", "TRAIN-images-idx3-ubyte", "train-images.idx3-ubyte",
              "train-images-idx3-ubyte/train-images.idx3-ubyte", "train-images-idx3-ubyte.gz"});
}

TEST_CASE("the folder itself goes before MNIST/raw, and MNIST/raw before raw") {
  CHECK(train_images(
            {"raw/train-images-idx3-ubyte", "MNIST/raw/train-images-idx3-ubyte.gz", "train-images-idx3-ubyte.gz"}) ==
        Paths{"train-images-idx3-ubyte.gz", "MNIST/raw/train-images-idx3-ubyte.gz", "raw/train-images-idx3-ubyte"});
}

TEST_CASE("a location with all four files goes before one with some of them") {
  Paths files = {"train-images-idx3-ubyte"};
  for (const char* name : kMnistNames) files.push_back(std::string("raw/") + name);
  CHECK(train_images(files) == Paths{"raw/train-images-idx3-ubyte", "train-images-idx3-ubyte"});
}

TEST_CASE("other folders, and folders inside a folder with a file's name, are not searched") {
  CHECK(train_images({"FashionMNIST/raw/train-images-idx3-ubyte", "x/train-images-idx3-ubyte",
                      "train-labels-idx1-ubyte/train-images-idx3-ubyte",
                      "train-images-idx3-ubyte/train-images-idx3-ubyte/train-images-idx3-ubyte"})
            .empty());
}

TEST_CASE("a folder that is named like an MNIST file is searched one level deep") {
  const TempDir dir;
  for (const char* name : kMnistNames) {
    fs::create_directories(dir / name);
    write_bytes(dir / name / name, {1});
  }
  const MnistFolder found = look_for_mnist(dir.path());
  for (std::size_t i = 0; i < kMnistRoles; ++i) {
    CHECK(found.files[i] == Paths{(dir / kMnistNames[i] / kMnistNames[i]).string()});
  }
  CHECK(found.obstacles.empty());
}

TEST_CASE("the contents of a folder are listed, starting with files that look like MNIST") {
  const TempDir dir;
  CHECK(what_lies_in(dir.path()) == "it is empty");
  for (const char* name : {"a", "b", "c", "d", "emnist-digits.zip"}) write_bytes(dir / name, {1});
  CHECK(what_lies_in(dir.path()) == "it holds emnist-digits.zip, a, b, c, d");
  fs::create_directory(dir / "train-images-idx3-ubyte");
  fs::create_symlink("/nowhere", dir / "train-labels-idx1-ubyte");
  CHECK(what_lies_in(dir.path()) ==
        "it holds emnist-digits.zip, train-images-idx3-ubyte/ (a folder with nothing in it), train-labels-idx1-ubyte "
        "(a broken link), a, b and 2 more");
}

TEST_CASE("a subfolder that has all four files is named") {
  const TempDir dir;
  fs::create_directories(dir / "digits" / "raw");
  for (const char* name : kMnistNames) write_bytes(dir / "digits" / "raw" / name, {1});
  const std::string digits = (dir / "digits").string();
  CHECK(what_lies_in(dir.path()) == "it holds digits/, and " + digits + " has all four files: --data_dir " + digits);
}

TEST_CASE("a file in place of the folder, a missing folder and a dangling link are distinguished") {
  const TempDir dir;
  write_bytes(dir / "file", {1});
  fs::create_symlink("/nowhere/mnist", dir / "link");
  const auto says = [](const fs::path& path, const std::string& text) {
    return fails_with(ExitCode::kData, path.string() + text, [&] { look_for_mnist(path); });
  };
  CHECK(
      says(dir / "file", " is a file, not a folder; name the folder that it is in: --data_dir " + dir.path().string()));
  CHECK(says(dir / "absent", ": there is no such folder; to download"));
  CHECK(says(dir / "link", ": there is no such folder, but a link to /nowhere/mnist, which does not exist"));
}

TEST_CASE("a folder without access permission is named, whether it is the requested one, a parent or a subfolder") {
  const TempDir dir;
  fs::create_directories(dir / "shut" / "in");
  fs::create_directory_symlink("shut", dir / "MNIST");
  const ClosedFolder closed_folder(dir / "shut", dir.path());
  REQUIRE(closed_folder.works());
  const auto closed = [&](const fs::path& path) {
    return fails_with(ExitCode::kData, "cannot look into " + (dir / "shut").string() + ": Permission denied",
                      [&] { look_for_mnist(path); });
  };
  CHECK(closed(dir / "shut"));
  CHECK(closed(dir / "shut" / "in"));
  CHECK(look_for_mnist(dir.path()).obstacles ==
        Paths{"cannot look into " + (dir / "MNIST").string() + ": Permission denied"});
}

TEST_CASE("in a folder that can be entered but not listed, files with the usual names are found") {
  const TempDir dir;
  fs::create_directories(dir / "entered");
  fs::create_directory(dir / "shut");
  for (const char* name : kMnistNames) write_bytes(dir / "entered" / (std::string(name) + ".gz"), {1});
  fs::permissions(dir / "entered", fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec);
  {
    const ClosedFolder closed(dir / "shut", dir.path());  // root switches to an ordinary user here
    REQUIRE(closed.works());
    const MnistFolder found = look_for_mnist(dir / "entered");
    CHECK(found.files[kTestLabels] == Paths{(dir / "entered" / "t10k-labels-idx1-ubyte.gz").string()});
    CHECK(found.obstacles == Paths{"cannot look into " + (dir / "entered").string() + ": Permission denied"});
  }
  fs::permissions(dir / "entered", fs::perms::owner_all);
}
