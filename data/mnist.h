// MNIST from a folder of IDX files.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "data/image_set.h"
#include "data/unpacked_cache.h"

namespace distmnist {

// True when `dir` has the four files of MNIST, plain or .gz, themselves or in MNIST/raw (where torchvision puts them).
bool has_mnist(const std::filesystem::path& dir);

// Loads train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte from where
// has_mnist looks; a plain file goes before its .gz. Any number of 28x28 images is taken. Error (kData): names every
// missing file and where it was sought, a broken file and the offset (see read_idx), or counts and sizes that disagree.
// Compressed files come from `cache` where they are in it.
TrainAndTest load_mnist(const std::filesystem::path& dir, UnpackedCache* cache = nullptr);

// Compares the MD5 of the four decompressed files with the published sums. A sentence that names those that differ, or
// nullopt. Other data sets (Fashion-MNIST, KMNIST) use the same names, so this is a warning. Takes about 0.1 s.
std::optional<std::string> checksum_warning(const TrainAndTest& data);

// Runs checksum_warning on a thread of its own, at a low priority, and calls `warn` from there when there is something
// to say.
class BackgroundChecksum {
 public:
  BackgroundChecksum(TrainAndTest data, std::function<void(const std::string&)> warn);

 private:
  std::jthread thread_;  // waits for the end of the check when destroyed
};

}  // namespace distmnist
