// MNIST: loads it from a folder of IDX files.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "data/image_set.h"
#include "data/unpacked_cache.h"

namespace distmnist {

// True if `dir` has the four MNIST files, in any of the layouts of data/mnist_files.h.
bool has_mnist(const std::filesystem::path& dir);

struct MnistOptions {
  UnpackedCache* cache = nullptr;  // source of compressed files that it has a copy of; may be null
  Trust trust = Trust::kAnyone;
};

// Loads the four files from where has_mnist looks. If there are several files for a role, uses the first intact one and
// warns about those before it. Accepts any number of 28x28 images. Error (kData): every missing file, where it was
// looked for and what is there instead; a broken file and the offset (see read_idx); counts or sizes that disagree; or
// a folder that cannot be read.
TrainAndTest load_mnist(const std::filesystem::path& dir, const MnistOptions& options = {});

// Compares the MD5 of the four decompressed files with the published checksums. Returns a message that names those that
// differ, or nullopt. Other data sets (Fashion-MNIST, KMNIST) use the same names, so this is only a warning. Takes
// about 0.1 s.
std::optional<std::string> checksum_warning(const TrainAndTest& data);

// Runs checksum_warning in its own low-priority thread, and calls `warn` from there if there is a warning.
class BackgroundChecksum {
 public:
  BackgroundChecksum(TrainAndTest data, std::function<void(const std::string&)> warn);

 private:
  std::jthread thread_;  // its destruction waits for the end of the check
};

}  // namespace distmnist
