#include "data/mnist.h"

#include <algorithm>
#include <array>
#include <future>
#include <utility>
#include <vector>

#include <fmt/ranges.h>
#include <md5.h>

#include "data/idx.h"
#include "data/mnist_files.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/low_priority.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 28;  // pixels

struct MnistFile {
  IdxKind kind;
  const char* md5;  // of the decompressed bytes, including the header
};
constexpr std::array<MnistFile, kMnistRoles> kFiles = {{
    {IdxKind::kImages, "6bbc9ace898e44ae57da46a324031adb"},
    {IdxKind::kLabels, "a25bea736e30d166cdddb491f175f624"},
    {IdxKind::kImages, "2646ac647ad5339dbf082846283269ea"},
    {IdxKind::kLabels, "27ae3e4e09519cfbb04c329615203637"},
}};

void require_all_found(const fs::path& dir, const MnistFolder& folder) {
  std::string missing;
  for (std::size_t i = 0; i < kMnistRoles; ++i) {
    if (folder.files[i].empty()) missing += (missing.empty() ? "" : ", ") + std::string(kMnistNames[i]);
  }
  if (missing.empty()) return;
  if (!folder.obstacles.empty()) throw Error(ExitCode::kData, folder.obstacles.front());
  fail(ExitCode::kData,
       "{}: missing {} (looked for each, plain or .gz, there, in a folder of its name, in {} and in {}); {}; to "
       "download MNIST to it: distmnist --download_only --data_dir {}",
       dir.string(), missing, (dir / "MNIST" / "raw").string(), (dir / "raw").string(), what_lies_in(dir),
       dir.string());
}

struct ReadFile {
  IdxArray array;
  fs::path path;
  std::vector<std::string> broken;  // why each earlier candidate was rejected
};

// Reads the first intact file of `paths` (at least one). The Error says what is wrong with each.
ReadFile read_first_whole(const std::vector<std::string>& paths, IdxKind kind, const MnistOptions& options) {
  ReadFile file;
  for (const std::string& path : paths) {
    try {
      file.array = options.cache == nullptr ? read_idx(path, kind, options.trust) : options.cache->read(path, kind);
      file.path = path;
      return file;
    } catch (const Error& error) {
      if (error.code() != ExitCode::kData) throw;
      file.broken.emplace_back(error.what());
    }
  }
  fail(ExitCode::kData, "{}", fmt::join(file.broken, "; and "));
}

void warn_of_broken(const ReadFile& file) {
  for (const std::string& what : file.broken) log_warning("data: using {} instead of {}", file.path.string(), what);
}

ImageSet image_set_of(ReadFile images_file, ReadFile labels_file) {
  IdxArray& images = images_file.array;
  IdxArray& labels = labels_file.array;
  if (images.dimensions[0] != labels.dimensions[0]) {
    fail(ExitCode::kData, "{} has {} images, but {} has {} labels: they do not belong together",
         images_file.path.string(), images.dimensions[0], labels_file.path.string(), labels.dimensions[0]);
  }
  if (images.dimensions[1] != kSide || images.dimensions[2] != kSide) {
    fail(ExitCode::kData, "{}: its images are {}x{} (offset 8), but those of MNIST are {}x{}",
         images_file.path.string(), images.dimensions[1], images.dimensions[2], kSide, kSide);
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
  try {
    return std::ranges::none_of(look_for_mnist(dir).files, [](const auto& paths) { return paths.empty(); });
  } catch (const Error&) {
    return false;
  }
}

TrainAndTest load_mnist(const fs::path& dir, const MnistOptions& options) {
  const MnistFolder folder = look_for_mnist(dir);
  require_all_found(dir, folder);
  // Decompressing takes most of the time, so the three small files are read in parallel with the large one.
  std::array<std::future<ReadFile>, kMnistRoles> readers;
  for (std::size_t i = 0; i < kMnistRoles; ++i) {
    readers[i] = std::async(std::launch::async, [&paths = folder.files[i], kind = kFiles[i].kind, &options] {
      return read_first_whole(paths, kind, options);
    });
  }
  std::array<ReadFile, kMnistRoles> files;
  for (std::size_t i = 0; i < kMnistRoles; ++i) files[i] = readers[i].get();
  for (const ReadFile& file : files) warn_of_broken(file);
  TrainAndTest data;
  data.train = image_set_of(std::move(files[kTrainImages]), std::move(files[kTrainLabels]));
  data.test = image_set_of(std::move(files[kTestImages]), std::move(files[kTestLabels]));
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
    if (md5 != kFiles[i].md5) different += (different.empty() ? "" : ", ") + std::string(kMnistNames[i]);
  }
  if (different.empty()) return std::nullopt;
  return fmt::format(
      "{}: the published MD5 sums of MNIST do not match {}; this is a different data set, or the files are damaged",
      data.description, different);
}

BackgroundChecksum::BackgroundChecksum(TrainAndTest data, std::function<void(const std::string&)> warn)
    : thread_([data = std::move(data), warn = std::move(warn)] {
        work_in_background("comparing the data with MNIST's checksums", [&] {
          const auto warning = checksum_warning(data);
          data.train.let_pages_go();  // The check read everything; training reads batch by batch.
          data.test.let_pages_go();
          if (warning) warn(*warning);
        });
      }) {}

}  // namespace distmnist
