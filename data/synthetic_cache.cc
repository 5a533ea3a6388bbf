// synthetic_digits() of data/synthetic.h.
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>

#include "data/idx.h"
#include "data/mnist.h"
#include "data/synthetic.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSeed = 0;
constexpr const char* kVersion = "v1";  // change it whenever the digits change, so that old caches are not used
constexpr TimeMs kMaxLockWaitMs = 60000;

// Holds the folder's lock while digits are generated; the system releases it when a process dies. If the lock is not
// available within kMaxLockWaitMs, or at all, continues without it: the work is then done twice, with the same result.
FileDescriptor lock_folder(const fs::path& folder) {
  FileDescriptor fd(open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const TimeMs deadline = monotonic_ms() + kMaxLockWaitMs;
  while (fd && flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK && monotonic_ms() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return fd;
}

void name_as_synthetic(TrainAndTest& data) {
  data.description = "synthetic digits (this is not MNIST)";
  data.synthetic = true;
}

std::optional<TrainAndTest> load_cached(const fs::path& folder, std::int64_t train_count, std::int64_t test_count) {
  if (!has_mnist(folder)) return std::nullopt;
  try {
    TrainAndTest data = load_mnist(folder, {.trust = Trust::kThisUser});
    if (data.train.count != train_count || data.test.count != test_count) return std::nullopt;
    name_as_synthetic(data);
    return data;
  } catch (const Error&) {
    return std::nullopt;
  }
}

TrainAndTest make_all(std::int64_t train_count, std::int64_t test_count) {
  const int threads = static_cast<int>(std::thread::hardware_concurrency());
  TrainAndTest data;
  data.train = make_synthetic_digits(train_count, kSeed, Split::kTrain, threads);
  data.test = make_synthetic_digits(test_count, kSeed, Split::kTest, threads);
  name_as_synthetic(data);
  return data;
}

void write_set(const fs::path& folder, const std::string& name, const ImageSet& set) {
  write_idx(folder / (name + "-images-idx3-ubyte"), std::array{set.count, set.height, set.width}, set.pixels);
  write_idx(folder / (name + "-labels-idx1-ubyte"), std::array{set.count}, set.labels);
}

bool write_cache(const fs::path& folder, const TrainAndTest& data) {
  try {
    remove_stale_temporaries(folder);
    write_set(folder, "train", data.train);
    write_set(folder, "t10k", data.test);
    return true;
  } catch (const Error& error) {
    log_warning("synthetic digits are not kept for the next run: {}", error.what());
    return false;
  }
}

}  // namespace

TrainAndTest synthetic_digits(const fs::path& cache_dir, std::int64_t train_count, std::int64_t test_count) {
  if (cache_dir.empty()) return make_all(train_count, test_count);
  const fs::path folder = cache_dir / kVersion;
  if (const auto why_not = why_not_private(folder)) {
    log_warning("the synthetic digits in {} are not used: the folder {}", folder.string(), *why_not);
    return make_all(train_count, test_count);
  }
  if (auto cached = load_cached(folder, train_count, test_count)) return *std::move(cached);
  create_private_folders(folder);
  const FileDescriptor lock = lock_folder(folder);
  if (auto cached = load_cached(folder, train_count, test_count)) return *std::move(cached);
  if (has_mnist(folder))
    log_warning("the synthetic digits in {} cannot be used and are generated again", folder.string());
  TrainAndTest made = make_all(train_count, test_count);
  if (!write_cache(folder, made)) return made;
  // The mapped files replace our copy, because all processes on this host share their pages.
  auto cached = load_cached(folder, train_count, test_count);
  return cached ? *std::move(cached) : made;
}

}  // namespace distmnist
