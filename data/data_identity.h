// DataIdentity: a few numbers that distinguish data sets. Workers of one job compare theirs, and a checkpoint stores
// that of the data its run was trained on.
#pragma once

#include <cstdint>
#include <string>

#include "data/image_set.h"

namespace distmnist {

struct DataIdentity {
  std::int64_t train_count = 0, test_count = 0;  // images
  std::int64_t height = 0, width = 0;
  int num_classes = 0;              // the largest label + 1
  std::uint32_t labels_crc32c = 0;  // over all labels, training labels first
  // Over a sample of rows of the training images, then of the test images: at most 4096 rows per set, one from each of
  // as many equal intervals, at a scattered but fixed position in it. A scaled or shifted copy differs in all of them.
  // In MNIST's training images, contiguous damage of 23 KB or more is always detected, a damaged 4 KB block one time in
  // three, and a single byte almost never (BackgroundChecksum detects that).
  std::uint32_t sampled_rows_crc32c = 0;

  bool operator==(const DataIdentity&) const = default;
};

// Takes at most a few milliseconds.
DataIdentity identity_of(const TrainAndTest& data);

// "60000 + 10000 images of 28x28 in 10 classes, labels 1a2b3c4d, sampled rows 5e6f7a8b"
std::string describe(const DataIdentity& identity);

// Whether a model for one can be trained on the other: the same image size and number of classes.
bool same_shape(const DataIdentity& a, const DataIdentity& b);

}  // namespace distmnist
