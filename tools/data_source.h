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
  // Run beside the training; null for synthetic digits.
  std::unique_ptr<BackgroundChecksum> checksum;
  std::unique_ptr<UnpackedCache> unpacked;
  std::unique_ptr<BackgroundCopies> copies;  // after what it uses
};

// Error (kData): a named folder that is missing, incomplete or broken; --dataset=mnist and no data at hand.
LoadedData load_data(const Flags& flags);

// Runs tools/download_mnist.py into the cache in place of this process. Returns only by Error.
[[noreturn]] void download_data(const Flags& flags);

// A few words that tell data sets apart, for the fingerprint of a job: counts and the checksum of the labels.
std::string data_fingerprint(const TrainAndTest& data);

}  // namespace distmnist
