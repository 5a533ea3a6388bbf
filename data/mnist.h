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

// True when `dir` has the four files of MNIST, in one of the ways of data/mnist_files.h.
bool has_mnist(const std::filesystem::path& dir);

struct MnistOptions {
  UnpackedCache* cache = nullptr;  // compressed files come from here where they are in it
  Trust trust = Trust::kAnyone;
};

// Loads the four files from where has_mnist looks. Of several files of one role the first whole one is taken, with a
// warning about those before it. Any number of 28x28 images is taken. Error (kData): names every missing file, where it
// was sought and what lies there instead, a broken file and the offset (see read_idx), counts and sizes that disagree,
// or a folder that cannot be looked into.
TrainAndTest load_mnist(const std::filesystem::path& dir, const MnistOptions& options = {});

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
