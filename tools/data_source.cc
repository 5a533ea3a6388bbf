#include "tools/data_source.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "data/synthetic.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/math/crc32c.h"
#include "tools/environment.h"

namespace distmnist {
namespace {

std::filesystem::path cached_mnist() {
  return cache_folder() / "mnist";
}

LoadedData load_real(const std::filesystem::path& folder) {
  LoadedData loaded;
  loaded.unpacked = std::make_unique<UnpackedCache>(cache_folder() / "unpacked");
  loaded.data = load_mnist(folder, loaded.unpacked.get());
  loaded.checksum =
      std::make_unique<BackgroundChecksum>(loaded.data, [](const std::string& warning) { log_warning("{}", warning); });
  loaded.copies = std::make_unique<BackgroundCopies>(*loaded.unpacked);
  log_info("data: {}", loaded.data.description);
  return loaded;
}

LoadedData load_synthetic() {
  LoadedData loaded;
  loaded.data = synthetic_digits(cache_folder() / "synthetic");
  log_warning("data: {}", loaded.data.description);
  return loaded;
}

}  // namespace

LoadedData load_data(const Flags& flags) {
  if (flags.dataset == "synthetic") {
    if (!flags.data_dir.empty())
      fail(ExitCode::kUsage, "--dataset=synthetic is drawn, not read: leave --data_dir={} out", flags.data_dir);
    return load_synthetic();
  }
  if (!flags.data_dir.empty()) return load_real(flags.data_dir);
  if (has_mnist(cached_mnist())) return load_real(cached_mnist());
  if (flags.dataset == "mnist") {
    fail(ExitCode::kData, "no MNIST in {}; name its folder with --data_dir or fetch it with --download_only",
         cached_mnist().string());
  }
  log_warning("no MNIST in {} and no --data_dir: training on drawn digits instead", cached_mnist().string());
  return load_synthetic();
}

void download_data(const Flags& flags) {
  const std::string script = find_script("download_mnist.py").string();
  const std::string folder = flags.data_dir.empty() ? cached_mnist().string() : flags.data_dir;
  execlp("python3", "python3", script.c_str(), "--dir", folder.c_str(), static_cast<char*>(nullptr));
  fail(ExitCode::kUsage, "cannot run python3 {}: {}; install Python 3", script, std::strerror(errno));
}

std::string data_fingerprint(const TrainAndTest& data) {
  const std::uint32_t crc = crc32c(std::as_bytes(data.test.labels), crc32c(std::as_bytes(data.train.labels)));
  return fmt::format("{} + {} images, labels {:08x}", data.train.count, data.test.count, crc);
}

}  // namespace distmnist
