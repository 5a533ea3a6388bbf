#include "tools/data_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "data/synthetic.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "tools/cache.h"
#include "tools/environment.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSynthetic = "synthetic";  // sources, with the names used by --dataset
constexpr const char* kCached = "mnist";

// A name for the folder that is valid in any current folder.
std::string absolute_name(const fs::path& folder) {
  const fs::path whole = fs::absolute(folder);
  const bool goes_up = std::ranges::find(whole, fs::path("..")) != whole.end();  // Behind a link, ".." leads elsewhere.
  return goes_up ? whole.string() : whole.lexically_normal().string();
}

LoadedData load_real(const fs::path& folder, const Cache& cache) {
  LoadedData loaded;
  if (const auto unpacked = cache.folder("unpacked")) loaded.unpacked = std::make_unique<UnpackedCache>(*unpacked);
  loaded.data = load_mnist(folder, {.cache = loaded.unpacked.get()});
  loaded.source = absolute_name(folder);
  loaded.checksum =
      std::make_unique<BackgroundChecksum>(loaded.data, [](const std::string& warning) { log_warning("{}", warning); });
  if (loaded.unpacked) loaded.copies = std::make_unique<BackgroundCopies>(*loaded.unpacked);
  log_info("data: {}", loaded.data.description);
  return loaded;
}

LoadedData load_synthetic(const Cache& cache) {
  LoadedData loaded;
  loaded.data = synthetic_digits(cache.folder("synthetic").value_or(fs::path()));
  loaded.source = kSynthetic;
  log_warning("data: {}", loaded.data.description);
  return loaded;
}

// The MNIST in the cache; synthetic digits if it is not there and MNIST is not required.
LoadedData load_default(const Cache& cache, bool only_mnist) {
  const auto cached = cache.folder("mnist");
  if (cached && has_mnist(*cached)) {
    LoadedData loaded = load_real(*cached, cache);
    loaded.source = kCached;
    return loaded;
  }
  const std::string none = cached ? "no MNIST in " + cached->string() : "no cache that could hold MNIST";
  if (only_mnist) {
    fail(ExitCode::kData, "{}; name its folder with --data_dir or fetch it with --download_only", none);
  }
  log_warning("{} and no --data_dir: training on synthetic digits instead", none);
  return load_synthetic(cache);
}

}  // namespace

LoadedData load_data(const Flags& flags) {
  if (flags.data.dataset == DatasetChoice::kSynthetic && !flags.data.data_dir.empty())
    fail(ExitCode::kUsage, "--dataset=synthetic is generated, not read: leave out --data_dir={}", flags.data.data_dir);
  const Cache cache;
  if (flags.data.dataset == DatasetChoice::kSynthetic) return load_synthetic(cache);
  if (!flags.data.data_dir.empty()) return load_real(flags.data.data_dir, cache);
  return load_default(cache, flags.data.dataset == DatasetChoice::kMnist);
}

Flags with_source(Flags flags, const std::string& source) {
  const bool is_folder = source.starts_with('/');
  flags.data.data_dir = is_folder ? source : "";
  flags.data.dataset.reset();
  if (!is_folder) flags.data.dataset = source == kSynthetic ? DatasetChoice::kSynthetic : DatasetChoice::kMnist;
  return flags;
}

void download_data(const Flags& flags) {
  const std::string script = find_script("download_mnist.py").string();
  const auto cached = flags.data.data_dir.empty() ? Cache().folder("mnist") : fs::path(flags.data.data_dir);
  if (!cached) fail(ExitCode::kUsage, "there is no cache to download MNIST to; name a folder with --data_dir");
  execlp("python3", "python3", script.c_str(), "--dir", cached->c_str(), static_cast<char*>(nullptr));
  fail(ExitCode::kUsage, "cannot run python3 {}: {}; install Python 3", script, std::strerror(errno));
}

}  // namespace distmnist
