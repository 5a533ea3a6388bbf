#include "data/mnist.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <unistd.h>

#include "data/idx.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTrainImages = "train-images-idx3-ubyte";
constexpr const char* kTrainLabels = "train-labels-idx1-ubyte";
constexpr const char* kTestImages = "t10k-images-idx3-ubyte";
constexpr const char* kTestLabels = "t10k-labels-idx1-ubyte";

void write_images(const fs::path& path, std::int64_t count, std::uint8_t pixel, std::int64_t side = 28) {
  write_idx(path, std::array{count, side, side}, Bytes(static_cast<std::size_t>(count * side * side), pixel));
}

void write_labels(const fs::path& path, std::int64_t count, std::uint8_t label) {
  write_idx(path, std::array{count}, Bytes(static_cast<std::size_t>(count), label));
}

// 5 training images with pixel 10 and label 1, and 3 test images with pixel 20 and label 2.
void write_small_mnist(const fs::path& dir) {
  fs::create_directories(dir);
  write_images(dir / kTrainImages, 5, 10);
  write_labels(dir / kTrainLabels, 5, 1);
  write_images(dir / kTestImages, 3, 20);
  write_labels(dir / kTestLabels, 3, 2);
}

void compress(const fs::path& path) {
  write_bytes(path.string() + ".gz", gzip(read_bytes(path)));
  fs::remove(path);
}

void check_small_mnist(const TrainAndTest& data) {
  CHECK(data.train.count == 5);
  CHECK(data.train.height == 28);
  CHECK(data.train.width == 28);
  CHECK(Bytes(data.train.pixels.begin(), data.train.pixels.end()) == Bytes(5 * 784, 10));
  CHECK(Bytes(data.train.labels.begin(), data.train.labels.end()) == Bytes(5, 1));
  CHECK(data.test.count == 3);
  CHECK(Bytes(data.test.pixels.begin(), data.test.pixels.end()) == Bytes(3 * 784, 20));
  CHECK(Bytes(data.test.labels.begin(), data.test.labels.end()) == Bytes(3, 2));
  CHECK_FALSE(data.synthetic);
}

// The bytes of the training pixels that are in this process's resident memory.
std::size_t resident_bytes(const ImageSet& set) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(set.pixels.data()) / page * page;
  std::ifstream smaps("/proc/self/smaps");
  const std::string start = fmt::format("{:x}-", begin);
  for (std::string line; std::getline(smaps, line);) {
    if (!line.starts_with(start)) continue;
    while (std::getline(smaps, line) && !line.starts_with("Rss:")) {
    }
    return std::stoul(line.substr(4)) * 1024;
  }
  throw std::runtime_error("no mapping of the pixels");
}

}  // namespace

TEST_CASE("four plain files are loaded, and the description says where they are and how many images they hold") {
  const TempDir dir;
  write_small_mnist(dir.path());
  CHECK(has_mnist(dir.path()));
  const TrainAndTest data = load_mnist(dir.path());
  check_small_mnist(data);
  CHECK(data.description == "MNIST from " + dir.path().string() + " (5 + 3)");
}

TEST_CASE("compressed and plain files can be mixed, and plain ones have priority") {
  const TempDir dir;
  write_small_mnist(dir.path());
  compress(dir / kTrainImages);
  compress(dir / kTestLabels);
  write_bytes(dir / (std::string(kTrainLabels) + ".gz"), {0x1f, 0x8b, 'x'});
  CHECK(has_mnist(dir.path()));
  check_small_mnist(load_mnist(dir.path()));
}

TEST_CASE("a broken file is skipped if a valid one is beside it") {
  const Bytes page = {'<', 'h', 't', 'm', 'l', '>'};
  for (const Bytes& broken : {Bytes{}, Bytes{0, 0, 8, 3, 0, 0}, page}) {
    const TempDir dir;
    write_small_mnist(dir.path());
    compress(dir / kTrainImages);
    write_bytes(dir / kTrainImages, broken);
    check_small_mnist(load_mnist(dir.path()));
  }
  const TempDir dir;
  write_small_mnist(dir.path());
  fs::rename(dir / kTestLabels, dir / "t10k-labels.idx1-ubyte");
  fs::create_symlink("nowhere", dir / kTestLabels);
  check_small_mnist(load_mnist(dir.path()));
}

TEST_CASE("if all files of a role are broken, the error names each of them") {
  const TempDir dir;
  write_small_mnist(dir.path());
  write_bytes(dir / kTrainImages, {0, 0, 8, 3, 0});
  write_bytes(dir / (std::string(kTrainImages) + ".gz"), {0x1f, 0x8b, 8});
  const auto load = [&] { load_mnist(dir.path()); };
  CHECK(fails_with(ExitCode::kData, (dir / kTrainImages).string() + ": truncated at offset 5", load));
  CHECK(
      fails_with(ExitCode::kData, "; and " + (dir / kTrainImages).string() + ".gz: the gzip data is truncated", load));
}

TEST_CASE("files are found whose names contain dots, are in upper case, or lie in a folder with the file's name") {
  const TempDir dir;
  write_small_mnist(dir.path());
  fs::rename(dir / kTrainImages, dir / "train-images.idx3-ubyte");
  fs::rename(dir / kTrainLabels, dir / "TRAIN-LABELS-IDX1-UBYTE");
  compress(dir / kTestImages);
  fs::rename(dir / (std::string(kTestImages) + ".gz"), dir / "T10K-Images.idx3-ubyte.GZ");
  fs::rename(dir / kTestLabels, dir / "file");
  fs::create_directory(dir / kTestLabels);
  fs::rename(dir / "file", dir / kTestLabels / "t10k-labels.idx1-ubyte");
  CHECK(has_mnist(dir.path()));
  check_small_mnist(load_mnist(dir.path()));
}

TEST_CASE("files that the program cached are used only if no other user can write them") {
  const TempDir dir;
  write_small_mnist(dir.path());
  CHECK(load_mnist(dir.path(), {.trust = Trust::kThisUser}).train.count == 5);
  fs::permissions(dir / kTestLabels, fs::perms::others_write, fs::perm_options::add);
  CHECK(fails_with(ExitCode::kData, (dir / kTestLabels).string() + " is not used",
                   [&] { load_mnist(dir.path(), {.trust = Trust::kThisUser}); }));
  check_small_mnist(load_mnist(dir.path()));
}

TEST_CASE("the folders that torchvision creates are found") {
  const TempDir dir;
  write_small_mnist(dir / "MNIST" / "raw");
  CHECK(has_mnist(dir.path()));
  check_small_mnist(load_mnist(dir.path()));
}

TEST_CASE("a copy of the data stays valid after the original is destroyed") {
  const TempDir dir;
  write_small_mnist(dir.path());
  TrainAndTest copy;
  {
    const TrainAndTest data = load_mnist(dir.path());
    copy = data;
  }
  check_small_mnist(copy);
}

TEST_CASE("a missing folder and a file in place of the folder are reported") {
  const TempDir dir;
  write_bytes(dir / "file", {1});
  for (const auto& [path, says] :
       {std::pair{dir / "absent", ": there is no such folder"}, {dir / "file", " is a file, not a folder"}}) {
    CHECK_FALSE(has_mnist(path));
    CHECK(fails_with(ExitCode::kData, path.string() + says, [&, path = path] { load_mnist(path); }));
  }
}

TEST_CASE("one error names every missing file, only those, and where they were searched") {
  const TempDir dir;
  write_small_mnist(dir.path());
  fs::remove(dir / kTrainLabels);
  fs::remove(dir / kTestImages);
  CHECK_FALSE(has_mnist(dir.path()));
  const auto load = [&] { load_mnist(dir.path()); };
  CHECK(fails_with(ExitCode::kData, std::string("missing ") + kTrainLabels + ", " + kTestImages + " (", load));
  CHECK(fails_with(ExitCode::kData, (dir / "MNIST").string() + "/raw", load));
  CHECK(fails_with(ExitCode::kData, ".gz", load));
  write_bytes(dir / "emnist-train.zip", {1});
  CHECK(fails_with(ExitCode::kData, "it holds emnist-train.zip, ", load));
}

TEST_CASE("different numbers of images and labels are refused") {
  const TempDir dir;
  write_small_mnist(dir.path());
  write_labels(dir / kTestLabels, 4, 1);
  const auto load = [&] { load_mnist(dir.path()); };
  CHECK(fails_with(ExitCode::kData, (dir / kTestImages).string() + " has 3 images", load));
  CHECK(fails_with(ExitCode::kData, (dir / kTestLabels).string() + " has 4 labels", load));
}

TEST_CASE("images of a different size are refused") {
  const TempDir dir;
  write_small_mnist(dir.path());
  write_images(dir / kTestImages, 3, 1, 32);
  CHECK(fails_with(ExitCode::kData, "t10k-images-idx3-ubyte: its images are 32x32", [&] { load_mnist(dir.path()); }));
}

TEST_CASE("a broken file is named, whichever of the four it is") {
  for (const char* name : {kTrainImages, kTrainLabels, kTestImages, kTestLabels}) {
    const TempDir dir;
    write_small_mnist(dir.path());
    Bytes bytes = read_bytes(dir / name);
    bytes.pop_back();
    write_bytes(dir / name, bytes);
    CHECK(fails_with(ExitCode::kData, (dir / name).string() + ": truncated at offset " + std::to_string(bytes.size()),
                     [&] { load_mnist(dir.path()); }));
  }
}

TEST_CASE("a different data set with the same file names causes a warning that names the files") {
  const TempDir dir;
  write_small_mnist(dir.path());
  const auto warning = checksum_warning(load_mnist(dir.path()));
  REQUIRE(warning);
  for (const std::string name : {kTrainImages, kTrainLabels, kTestImages, kTestLabels}) {
    CHECK(warning->find(name) != std::string::npos);
  }
}

TEST_CASE("the background check warns once and has ended when its object is destroyed") {
  const TempDir dir;
  write_small_mnist(dir.path());
  std::vector<std::string> warnings;
  {
    const BackgroundChecksum check(load_mnist(dir.path()), [&](const std::string& text) { warnings.push_back(text); });
  }
  CHECK(warnings.size() == 1);
}

TEST_CASE("the background check leaves no pages of plain files in memory") {
  const TempDir dir;
  write_small_mnist(dir.path());
  const TrainAndTest data = load_mnist(dir.path());
  CHECK(checksum_warning(data).has_value());
  CHECK(resident_bytes(data.train) > 0);
  {
    const BackgroundChecksum check(data, [](const std::string&) {});
  }
  CHECK(resident_bytes(data.train) == 0);
  check_small_mnist(data);
}

TEST_CASE("the real MNIST is loaded and its checksums match") {
  const char* dir = std::getenv("DISTMNIST_TEST_DATA");
  if (dir == nullptr) SKIP_CASE("set DISTMNIST_TEST_DATA to a folder with MNIST");
  TrainAndTest data = load_mnist(dir);
  CHECK(data.train.count == 60000);
  CHECK(data.test.count == 10000);
  CHECK(Bytes(data.train.labels.begin(), data.train.labels.begin() + 5) == Bytes{5, 0, 4, 1, 9});
  CHECK_FALSE(checksum_warning(data).has_value());

  SECTION("a single changed byte is detected, and only its file is named") {
    const auto labels = std::make_shared<Bytes>(data.test.labels.begin(), data.test.labels.end());
    (*labels)[7] ^= 1;
    data.test.labels = *labels;
    const auto warning = checksum_warning(data);
    REQUIRE(warning);
    CHECK(warning->find(kTestLabels) != std::string::npos);
    CHECK(warning->find(kTestImages) == std::string::npos);
    CHECK(warning->find(kTrainLabels) == std::string::npos);
  }
}
