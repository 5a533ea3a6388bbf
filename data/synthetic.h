// Synthetic digits: drawn by our own code, for machines that have no MNIST at hand. They are learned like MNIST (a
// convolutional network gets almost all of them, a linear one does not), but they are not MNIST.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/image_set.h"

namespace distmnist {

enum class Split { kTrain, kTest };

// `count` 28x28 digits: strokes with random slant, rotation, scale, position, pen, bends and noise. Image i is a pure
// function of (seed, split, i), on every machine and for any number of threads (at least 1).
ImageSet make_synthetic_digits(std::int64_t count, std::uint64_t seed, Split split, int threads);

inline constexpr std::int64_t kSyntheticTrainCount = 60000, kSyntheticTestCount = 10000;  // as many as MNIST has

// Training and test digits, the same ones always, as plain IDX files below `cache_dir`: mapped when they are there,
// else made (a few seconds on two cores) and written. Of several processes one makes them and the others wait. A cache
// that cannot be used is made again; where it cannot be written, or is not this user's alone, a warning is logged and
// the digits are used all the same. With an empty `cache_dir` nothing is kept.
TrainAndTest synthetic_digits(const std::filesystem::path& cache_dir, std::int64_t train_count = kSyntheticTrainCount,
                              std::int64_t test_count = kSyntheticTestCount);

}  // namespace distmnist
