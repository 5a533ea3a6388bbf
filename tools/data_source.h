// Which data a run uses: the folder the user names, the cached MNIST, or synthetic digits, said clearly.
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
  // Where it is from: the absolute path of its folder; "mnist", of the cache; "synthetic".
  std::string source;
  // Run beside the training; null for synthetic digits, and where nothing is kept.
  std::unique_ptr<BackgroundChecksum> checksum;
  std::unique_ptr<UnpackedCache> unpacked;
  std::unique_ptr<BackgroundCopies> copies;  // after what it uses
};

// Error (kData): a named folder that is missing, incomplete or broken; --dataset=mnist and no data at hand.
LoadedData load_data(const Flags& flags);

// Runs tools/download_mnist.py into the cache in place of this process. Returns only by Error.
[[noreturn]] void download_data(const Flags& flags);

// The flags with --data_dir and --dataset of a LoadedData's source: with them load_data loads it again.
Flags with_source(Flags flags, const std::string& source);

}  // namespace distmnist
