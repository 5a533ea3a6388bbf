#include "data/mnist.h"

#include <array>
#include <future>
#include <string_view>
#include <utility>
#include <vector>

#include <md5.h>

#include "data/idx.h"
#include "lib/base/error.h"
#include "lib/base/low_priority.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 28;  // pixels

struct MnistFile {
  const char* name;
  IdxKind kind;
  const char* md5;  // of the decompressed bytes, header included
};
constexpr std::array<MnistFile, 4> kFiles = {{
    {"train-images-idx3-ubyte", IdxKind::kImages, "6bbc9ace898e44ae57da46a324031adb"},
    {"train-labels-idx1-ubyte", IdxKind::kLabels, "a25bea736e30d166cdddb491f175f624"},
    {"t10k-images-idx3-ubyte", IdxKind::kImages, "2646ac647ad5339dbf082846283269ea"},
    {"t10k-labels-idx1-ubyte", IdxKind::kLabels, "27ae3e4e09519cfbb04c329615203637"},
}};
enum { kTrainImages, kTrainLabels, kTestImages, kTestLabels };  // positions in kFiles

// Where `name` is, plain before .gz; empty when it is nowhere.
fs::path find_file(const fs::path& dir, const char* name) {
  for (const fs::path& folder : {dir, dir / "MNIST" / "raw"}) {
    for (const char* suffix : {"", ".gz"}) {
      const fs::path path = folder / (std::string(name) + suffix);
      std::error_code ignored;  // what cannot be looked at is not there
      if (fs::exists(path, ignored)) return path;
    }
  }
  return {};
}

std::array<fs::path, 4> find_files(const fs::path& dir) {
  std::array<fs::path, 4> paths;
  for (std::size_t i = 0; i < kFiles.size(); ++i) paths[i] = find_file(dir, kFiles[i].name);
  return paths;
}

void check_all_found(const fs::path& dir, const std::array<fs::path, 4>& paths) {
  std::error_code ignored;
  if (!fs::is_directory(dir, ignored)) {
    fail(ExitCode::kData,
         "{}: there is no such folder; to download MNIST to it: distmnist --download_only --data_dir {}", dir.string(),
         dir.string());
  }
  std::string missing;
  for (std::size_t i = 0; i < kFiles.size(); ++i) {
    if (paths[i].empty()) missing += (missing.empty() ? "" : ", ") + std::string(kFiles[i].name);
  }
  if (missing.empty()) return;
  fail(ExitCode::kData,
       "{}: missing {} (looked for each, plain or .gz, there and in {}); to download MNIST to it: distmnist "
       "--download_only --data_dir {}",
       dir.string(), missing, (dir / "MNIST" / "raw").string(), dir.string());
}

ImageSet join(IdxArray images, IdxArray labels, const fs::path& images_path, const fs::path& labels_path) {
  if (images.dimensions[0] != labels.dimensions[0]) {
    fail(ExitCode::kData, "{} has {} images, but {} has {} labels: they do not belong together", images_path.string(),
         images.dimensions[0], labels_path.string(), labels.dimensions[0]);
  }
  if (images.dimensions[1] != kSide || images.dimensions[2] != kSide) {
    fail(ExitCode::kData, "{}: its images are {}x{} (offset 8), those of MNIST are {}x{}", images_path.string(),
         images.dimensions[1], images.dimensions[2], kSide, kSide);
  }
  std::vector<std::shared_ptr<const MappedFile>> mapped;
  for (const IdxArray* array : {&images, &labels}) {
    if (array->mapped != nullptr) mapped.push_back(array->mapped);
  }
  return {.count = images.dimensions[0],
          .height = kSide,
          .width = kSide,
          .pixels = images.data,
          .labels = labels.data,
          .owners = {std::move(images.owner), std::move(labels.owner)},
          .mapped = std::move(mapped)};
}

std::string md5_of_file(std::span<const std::int64_t> dimensions, std::span<const std::uint8_t> data) {
  MD5_CTX context;
  MD5Init(&context);
  const auto header = idx_header(dimensions);
  MD5Update(&context, header.data(), header.size());
  MD5Update(&context, data.data(), data.size());
  std::array<char, MD5_DIGEST_STRING_LENGTH> hex;
  MD5End(&context, hex.data());
  return hex.data();
}

}  // namespace

bool has_mnist(const fs::path& dir) {
  for (const fs::path& path : find_files(dir)) {
    if (path.empty()) return false;
  }
  return true;
}

TrainAndTest load_mnist(const fs::path& dir, UnpackedCache* cache) {
  const std::array<fs::path, 4> paths = find_files(dir);
  check_all_found(dir, paths);
  // Decompressing takes most of the time, so the three small files are read beside the large one.
  std::array<std::future<IdxArray>, 4> arrays;
  for (std::size_t i = 0; i < kFiles.size(); ++i) {
    arrays[i] = std::async(std::launch::async, [path = paths[i], kind = kFiles[i].kind, cache] {
      return cache == nullptr ? read_idx(path, kind) : cache->read(path, kind);
    });
  }
  TrainAndTest data;
  data.train = join(arrays[kTrainImages].get(), arrays[kTrainLabels].get(), paths[kTrainImages], paths[kTrainLabels]);
  data.test = join(arrays[kTestImages].get(), arrays[kTestLabels].get(), paths[kTestImages], paths[kTestLabels]);
  data.description = fmt::format("MNIST from {} ({} + {})", dir.string(), data.train.count, data.test.count);
  return data;
}

std::optional<std::string> checksum_warning(const TrainAndTest& data) {
  const ImageSet* const sets[] = {&data.train, &data.test};
  std::string different;
  for (std::size_t i = 0; i < kFiles.size(); ++i) {
    const ImageSet& set = *sets[i / 2];
    const bool images = kFiles[i].kind == IdxKind::kImages;
    const std::string md5 = images ? md5_of_file(std::array{set.count, set.height, set.width}, set.pixels)
                                   : md5_of_file(std::array{set.count}, set.labels);
    if (md5 != kFiles[i].md5) different += (different.empty() ? "" : ", ") + std::string(kFiles[i].name);
  }
  if (different.empty()) return std::nullopt;
  return fmt::format("{}: the published MD5 sums of MNIST do not fit {}; another data set, or damaged files",
                     data.description, different);
}

BackgroundChecksum::BackgroundChecksum(TrainAndTest data, std::function<void(const std::string&)> warn)
    : thread_([data = std::move(data), warn = std::move(warn)] {
        yield_to_others();
        const auto warning = checksum_warning(data);
        data.train.let_pages_go();  // The check has touched them all, the training takes batch by batch.
        data.test.let_pages_go();
        if (warning) warn(*warning);
      }) {}

}  // namespace distmnist
