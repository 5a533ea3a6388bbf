#include "data/synthetic.h"

#include <array>
#include <filesystem>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "data/idx.h"
#include "lib/math/crc32c.h"
#include "tests/support/catch.h"
#include "tests/support/faults.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;
namespace fs = std::filesystem;

namespace {

Bytes copy(std::span<const std::uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

bool same(const ImageSet& a, const ImageSet& b) {
  return a.count == b.count && copy(a.pixels) == copy(b.pixels) && copy(a.labels) == copy(b.labels);
}

// The share of `test` images that are nearest to the mean image of their own digit in `train`: a poor classifier, but
// far better than guessing.
double nearest_mean_accuracy(const ImageSet& train, const ImageSet& test) {
  std::array<std::vector<double>, 10> means;
  std::array<double, 10> counts{};
  means.fill(std::vector<double>(784));
  for (std::size_t i = 0; i < train.labels.size(); ++i) {
    ++counts[train.labels[i]];
    for (std::size_t p = 0; p < 784; ++p) means[train.labels[i]][p] += train.pixels[i * 784 + p];
  }
  int correct = 0;
  for (std::size_t i = 0; i < test.labels.size(); ++i) {
    double best = 1e300;
    std::size_t guess = 0;
    for (std::size_t digit = 0; digit < 10; ++digit) {
      double distance = 0;
      for (std::size_t p = 0; p < 784; ++p) {
        const double d = means[digit][p] / counts[digit] - test.pixels[i * 784 + p];
        distance += d * d;
      }
      if (distance < best) best = distance, guess = digit;
    }
    correct += guess == test.labels[i];
  }
  return correct / static_cast<double>(test.count);
}

}  // namespace

TEST_CASE("a digit depends on seed, split and number, not on the threads or the count") {
  const ImageSet all = make_synthetic_digits(50, 1, Split::kTrain, 1);
  CHECK(same(all, make_synthetic_digits(50, 1, Split::kTrain, 3)));
  const ImageSet some = make_synthetic_digits(20, 1, Split::kTrain, 2);
  CHECK(copy(some.pixels) == copy(all.pixels.first(20 * 784)));
  CHECK(copy(some.labels) == copy(all.labels.first(20)));
  CHECK_FALSE(same(all, make_synthetic_digits(50, 2, Split::kTrain, 1)));
  CHECK_FALSE(same(all, make_synthetic_digits(50, 1, Split::kTest, 1)));
}

TEST_CASE("the digits never change, because a cache of them would become a different data set") {
  const ImageSet digits = make_synthetic_digits(2000, 0, Split::kTrain, 2);
  CHECK(crc32c(std::as_bytes(digits.pixels)) == 0x6fac3759);
  CHECK(crc32c(std::as_bytes(digits.labels)) == 0x6893d285);
}

TEST_CASE("all digits are about equally frequent, and no two images are the same") {
  const ImageSet digits = make_synthetic_digits(5000, 3, Split::kTrain, 2);
  std::array<int, 10> counts{};
  for (const std::uint8_t label : digits.labels) ++counts.at(label);
  for (const int count : counts) CHECK(count == Approx(500).margin(110));  // five standard deviations
  std::set<std::string> images;
  for (std::size_t i = 0; i < 5000; ++i) {
    const auto image = digits.pixels.subspan(i * 784, 784);
    images.emplace(image.begin(), image.end());
  }
  CHECK(images.size() == 5000);
}

TEST_CASE("a digit is ink on black paper, in the middle and away from the border") {
  const ImageSet digits = make_synthetic_digits(2000, 4, Split::kTest, 2);
  std::array<double, 784> ink{};
  for (std::size_t i = 0; i < digits.pixels.size(); ++i) ink[i % 784] += digits.pixels[i] / 255.0 / 2000;
  const double total = std::accumulate(ink.begin(), ink.end(), 0.0);
  CHECK(total / 784 > 0.05);  // the mean of MNIST is 0.13
  CHECK(total / 784 < 0.25);
  double border = 0;
  for (std::size_t i = 0; i < 784; ++i) {
    if (i < 28 || i >= 27 * 28 || i % 28 == 0 || i % 28 == 27) border += ink[i];
  }
  CHECK(border / total < 0.02);
}

TEST_CASE("labels match the drawn digits, and a plain average of the images is not enough to classify them") {
  const double accuracy = nearest_mean_accuracy(make_synthetic_digits(5000, 0, Split::kTrain, 2),
                                                make_synthetic_digits(1000, 0, Split::kTest, 2));
  CHECK(accuracy > 0.5);
  CHECK(accuracy < 0.9);
}

TEST_CASE("the digits are stored as IDX files and found again") {
  const TempDir dir;
  const TrainAndTest made = synthetic_digits(dir / "cache", 200, 50);
  CHECK(made.synthetic);
  CHECK(made.description.find("not MNIST") != std::string::npos);
  CHECK(same(made.train, make_synthetic_digits(200, 0, Split::kTrain, 2)));
  CHECK(same(made.test, make_synthetic_digits(50, 0, Split::kTest, 2)));
  const fs::path images = dir / "cache" / "v1" / "train-images-idx3-ubyte";
  CHECK(copy(read_idx(images, IdxKind::kImages).data) == copy(made.train.pixels));

  const auto written = fs::last_write_time(images);
  const TrainAndTest found = synthetic_digits(dir / "cache", 200, 50);
  CHECK(fs::last_write_time(images) == written);
  CHECK(found.synthetic);
  CHECK(same(found.train, made.train));
  CHECK(same(found.test, made.test));
}

TEST_CASE("a broken or incomplete cache is created again") {
  const TempDir dir;
  const fs::path images = dir / "v1" / "train-images-idx3-ubyte";
  const Bytes whole = copy(synthetic_digits(dir.path(), 200, 50).train.pixels);
  write_bytes(images, {0, 0, 8, 3, 0});
  CHECK(copy(synthetic_digits(dir.path(), 200, 50).train.pixels) == whole);
  CHECK(copy(read_idx(images, IdxKind::kImages).data) == whole);
  fs::remove(images);
  CHECK(copy(synthetic_digits(dir.path(), 200, 50).train.pixels) == whole);
  CHECK(copy(read_idx(images, IdxKind::kImages).data) == whole);
  CHECK(synthetic_digits(dir.path(), 300, 50).train.count == 300);
}

TEST_CASE("processes that start together all get the digits") {
  const TempDir dir;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      bool good = false;
      try {
        const TrainAndTest data = synthetic_digits(dir.path(), 2000, 50);
        good = same(data.train, make_synthetic_digits(2000, 0, Split::kTrain, 1));
      } catch (...) {
      }
      _exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
}

TEST_CASE("without disk space the digits are still used, and no partial file remains") {
  const TempDir dir;
  const FileSizeLimit full(100000);
  const TrainAndTest data = synthetic_digits(dir.path(), 200, 50);
  CHECK(data.synthetic);
  CHECK(same(data.train, make_synthetic_digits(200, 0, Split::kTrain, 2)));
  for (const auto& entry : fs::directory_iterator(dir / "v1")) CHECK(entry.path().filename() == "lock");
}

TEST_CASE("digits are not used if other users can write their folder or files") {
  const TempDir dir;
  const TrainAndTest made = synthetic_digits(dir.path(), 200, 50);
  const fs::path labels = dir / "v1" / "train-labels-idx1-ubyte";
  write_idx(labels, std::vector<std::int64_t>{200}, Bytes(200, 3));
  CHECK(synthetic_digits(dir.path(), 200, 50).train.labels[0] == 3);  // used while only this user can write it
  fs::permissions(dir / "v1", fs::perms::others_write, fs::perm_options::add);
  CHECK(same(synthetic_digits(dir.path(), 200, 50).train, made.train));
  fs::permissions(dir / "v1", fs::perms::others_write, fs::perm_options::remove);
  fs::permissions(labels, fs::perms::others_write, fs::perm_options::add);
  CHECK(same(synthetic_digits(dir.path(), 200, 50).train, made.train));
}

TEST_CASE("without a cache folder the digits are drawn and not stored") {
  CHECK(same(synthetic_digits({}, 200, 50).train, make_synthetic_digits(200, 0, Split::kTrain, 2)));
}

TEST_CASE("a cache folder that cannot be created only causes a warning") {
  const TempDir dir;
  write_bytes(dir / "file", {1});
  CHECK(synthetic_digits(dir / "file" / "cache", 20, 10).train.count == 20);
}

TEST_CASE("by default there are as many digits as in MNIST") {
  const TempDir dir;
  const TrainAndTest data = synthetic_digits(dir.path());
  CHECK(data.train.count == 60000);
  CHECK(data.test.count == 10000);
}
