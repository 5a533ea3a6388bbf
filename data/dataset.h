// Datasets: small pieces that are put together as in tf.data (tensorflow/tensorflow, tf.data.Dataset):
//
//   auto batches = prefetch(batch(repeat(shuffle(slices(train), seed, worker)), batch_size, start_sample), 2);
//   for (TrainBatch b; batches->next(b);) train(b);
//
// The order is a pure function of (seed, worker, sample number), so a position in the data is one integer: the samples
// consumed so far. Starting there costs one permutation; nothing is replayed.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "data/image_set.h"

namespace distmnist {

inline constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

// A sequence of samples that can be entered anywhere. One thread at a time may use it.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual const ImageSet& images() const = 0;
  // Samples in one pass, or kEndless.
  virtual std::int64_t size() const = 0;
  // Which of images() comes at `position` (0 .. size() - 1) when the sequence is gone through for the `pass`-th time
  // (from 0). Neighbouring positions of one pass are cheap.
  virtual std::int64_t image_at(std::int64_t pass, std::int64_t position) = 0;
};
using DatasetPtr = std::unique_ptr<Dataset>;

// The images in their own order.
DatasetPtr slices(ImageSet images);

// The whole input in an order of its own for each (seed, worker) and each pass, where every order is equally likely
// (Fisher-Yates). The input must not be endless: shuffle first, then repeat.
DatasetPtr shuffle(DatasetPtr input, std::uint64_t seed, std::uint64_t worker);

// The input again and again; each time is another pass, so a shuffle below gives another order. `times` at least 1.
DatasetPtr repeat(DatasetPtr input, std::int64_t times = kEndless);

// images[i] = which of order.images() comes at position first + i of the first pass: the samples of the batches that
// batch() makes of `order`, in their order. All positions must be inside it, and the image set small enough for the
// type.
void fill_samples(Dataset& order, std::int64_t first, std::span<std::int32_t> images);

// Error (kUsage), with both numbers: a batch size below 1 or larger than the image set.
void check_batch_size(std::int64_t batch_size, const ImageSet& images);

struct TrainBatch {
  std::int64_t first_sample = 0;     // its position in the data
  std::int64_t size = 0;             // samples
  std::vector<float> images;         // [size, height * width], pixel / 255: 0 black .. 1 white ink
  std::vector<std::uint8_t> labels;  // [size]
};

// A sequence of batches. One thread at a time may use it.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Makes `batch` the next batch and uses its memory again; false, with `batch` unspecified, when there is none left.
  virtual bool next(TrainBatch& batch) = 0;
};
using BatchSourcePtr = std::unique_ptr<BatchSource>;

enum class LastBatch { kPartial, kDropped };

// Batches of `batch_size` samples from `start_sample` on, across the borders of passes. Where the input ends, the last
// batch may be smaller, or is dropped. Error (kUsage): batch_size below 1 or larger than the image set, or start_sample
// below 0, with the numbers.
BatchSourcePtr batch(DatasetPtr input, std::int64_t batch_size, std::int64_t start_sample = 0,
                     LastBatch last_batch = LastBatch::kPartial);

// The same batches, made ahead by one background thread: up to `depth` of them, at least 1. What the input throws is
// thrown by next(), after the batches that were made before it. The destructor waits for at most one batch being made.
BatchSourcePtr prefetch(BatchSourcePtr input, int depth);

}  // namespace distmnist
