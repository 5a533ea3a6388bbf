// Synthetic digits: generated digits, for machines without MNIST. Networks learn them as they learn MNIST (a
// convolutional network gets almost all of them right, a linear one does not), but they are not MNIST.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/image_set.h"

namespace distmnist {

enum class Split { kTrain, kTest };

// `count` 28x28 digits: strokes with random slant, rotation, scale, position, pen, bends and noise. Image i is a pure
// function of (seed, split, i), on every machine and for any number of threads (at least 1).
ImageSet make_synthetic_digits(std::int64_t count, std::uint64_t seed, Split split, int threads);

inline constexpr std::int64_t kSyntheticTrainCount = 60000, kSyntheticTestCount = 10000;  // as many as in MNIST

// Training and test digits, always the same ones, as plain IDX files below `cache_dir`. They are mapped if present,
// else generated (a few seconds on two cores) and written. If several processes need them, one generates them and the
// others wait. An unusable cache is regenerated. If the cache cannot be written, or is not private to this user, a
// warning is logged and the digits are used anyway. With an empty `cache_dir`, nothing is stored.
TrainAndTest synthetic_digits(const std::filesystem::path& cache_dir, std::int64_t train_count = kSyntheticTrainCount,
                              std::int64_t test_count = kSyntheticTestCount);

}  // namespace distmnist
