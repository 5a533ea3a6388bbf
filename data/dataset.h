// Datasets: small pieces that are combined as in tf.data (tensorflow/tensorflow, tf.data.Dataset):
//
//   auto batches = prefetch(batch(repeat(shuffle(slices(train), seed, worker)), batch_size, start_sample), 2);
//   for (TrainBatch b; batches->next(b);) train(b);
//
// The order is a pure function of (seed, worker, sample number), so a position in the data is one integer: the number
// of samples consumed so far. Starting at a position costs one permutation; nothing is replayed.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "data/image_set.h"

namespace distmnist {

inline constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

// A sequence of samples with random access. Not thread-safe.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual const ImageSet& images() const = 0;
  // The number of samples in one pass, or kEndless.
  virtual std::int64_t size() const = 0;
  // The index in images() of the sample at `position` (0 .. size() - 1) in pass number `pass` (from 0). Nearby
  // positions in one pass are cheap.
  virtual std::int64_t image_at(std::int64_t pass, std::int64_t position) = 0;
};
using DatasetPtr = std::unique_ptr<Dataset>;

// The images in their original order.
DatasetPtr slices(ImageSet images);

// The whole input in a different order for each (seed, worker) and each pass, where every order is equally likely
// (Fisher-Yates). The input must not be endless: shuffle first, then repeat.
DatasetPtr shuffle(DatasetPtr input, std::uint64_t seed, std::uint64_t worker);

// Repeats the input `times` times (at least 1). Each repetition is a new pass, so a shuffle below it gives a new order.
DatasetPtr repeat(DatasetPtr input, std::int64_t times = kEndless);

// Sets images[i] to the index in order.images() of the sample at position first + i in the first pass. These are the
// samples of the batches that batch() makes from `order`, in the same order. All positions must be in range, and all
// indices must fit the element type.
void fill_samples(Dataset& order, std::int64_t first, std::span<std::int32_t> images);

// Error (kUsage), with both numbers, if the batch size is below 1 or larger than the image set.
void check_batch_size(std::int64_t batch_size, const ImageSet& images);

struct TrainBatch {
  std::int64_t first_sample = 0;     // its position in the data
  std::int64_t size = 0;             // samples
  std::vector<float> images;         // [size, height * width], pixel / 255: 0 black .. 1 white ink
  std::vector<std::uint8_t> labels;  // [size]
};

// A sequence of batches. Not thread-safe.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Stores the next batch in `batch`, reusing its memory. Returns false, with `batch` unspecified, if there are none
  // left.
  virtual bool next(TrainBatch& batch) = 0;
};
using BatchSourcePtr = std::unique_ptr<BatchSource>;

enum class LastBatch { kPartial, kDropped };

// Batches of `batch_size` samples from `start_sample` on, which continue across passes. At the end of the input, the
// last batch may be smaller or is dropped. Error (kUsage), with the numbers: batch_size below 1 or larger than the
// image set, or start_sample below 0.
BatchSourcePtr batch(DatasetPtr input, std::int64_t batch_size, std::int64_t start_sample = 0,
                     LastBatch last_batch = LastBatch::kPartial);

// The same batches, prepared ahead by a background thread: up to `depth` of them (at least 1). If the input throws,
// next() rethrows it after the batches made before it. The destructor waits for at most one batch in progress.
BatchSourcePtr prefetch(BatchSourcePtr input, int depth);

}  // namespace distmnist
