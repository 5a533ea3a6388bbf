// DataIdentity: a few numbers that tell data sets apart. Workers of one job compare theirs, and a checkpoint knows that
// of the data its run was trained on.
#pragma once

#include <cstdint>
#include <string>

#include "data/image_set.h"

namespace distmnist {

struct DataIdentity {
  std::int64_t train_count = 0, test_count = 0;  // images
  std::int64_t height = 0, width = 0;
  int num_classes = 0;              // the largest label + 1
  std::uint32_t labels_crc32c = 0;  // of all labels, those of training first
  // Of a sample of the rows of the training images, then of the test images: of each set at most 4096 rows, one from
  // each of as many equal stretches, at a place in it that is scattered but always the same. A copy that is scaled or
  // shifted differs in all of them. In MNIST's training images, damage of 23 KB or more in one piece is always seen, a
  // damaged block of 4 KB with one chance in three, a single byte hardly ever (BackgroundChecksum sees that).
  std::uint32_t sampled_rows_crc32c = 0;

  bool operator==(const DataIdentity&) const = default;
};

// Takes a few milliseconds at most.
DataIdentity identity_of(const TrainAndTest& data);

// "60000 + 10000 images of 28x28 in 10 classes, labels 1a2b3c4d, sampled rows 5e6f7a8b"
std::string describe(const DataIdentity& identity);

// Whether a model for the one can be trained on the other: images of the same size, in as many classes.
bool same_shape(const DataIdentity& a, const DataIdentity& b);

}  // namespace distmnist
