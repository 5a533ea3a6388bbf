// Data source: the data of a run, which is the user's folder, the cached MNIST, or synthetic digits. Logs which one.
#pragma once

#include <memory>
#include <string>

#include "data/image_set.h"
#include "data/mnist.h"
#include "data/unpacked_cache.h"
#include "tools/flags.h"

namespace distmnist {

struct LoadedData {
  TrainAndTest data;
  // The origin: the absolute path of the folder, "mnist" for the cache, or "synthetic".
  std::string source;
  // These run during training; null for synthetic digits, and if nothing is cached.
  std::unique_ptr<BackgroundChecksum> checksum;
  std::unique_ptr<UnpackedCache> unpacked;
  std::unique_ptr<BackgroundCopies> copies;  // declared after `unpacked`, which it uses
};

// Error (kData): a named folder is missing, incomplete or broken, or --dataset=mnist and no data is available.
LoadedData load_data(const Flags& flags);

// Replaces this process with tools/download_mnist.py, which downloads into the cache. Returns only by throwing Error.
[[noreturn]] void download_data(const Flags& flags);

// The flags with --data_dir and --dataset set to the source of a LoadedData, so that load_data loads it again.
Flags with_source(Flags flags, const std::string& source);

}  // namespace distmnist
