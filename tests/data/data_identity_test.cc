#include "data/data_identity.h"

#include <memory>
#include <vector>

#include "tests/support/catch.h"

using namespace distmnist;

namespace {

using Bytes = std::vector<std::uint8_t>;

// A data set whose bytes a test can change before it computes the identity.
struct Sample {
  explicit Sample(std::int64_t train = 300, std::int64_t test = 40)
      : train_pixels(counting(train * 784)),
        test_pixels(counting(test * 784)),
        train_labels(labels(train)),
        test_labels(labels(test)) {}

  static Bytes counting(std::int64_t size) {
    Bytes bytes(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 >> 3);
    return bytes;
  }
  static Bytes labels(std::int64_t count) {
    Bytes bytes(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i % 10);
    return bytes;
  }
  static ImageSet set(const Bytes& pixels, const Bytes& labels) {
    return {.count = static_cast<std::int64_t>(labels.size()),
            .height = 28,
            .width = 28,
            .pixels = pixels,
            .labels = labels,
            .owners = {}};
  }
  DataIdentity identity() const {
    return identity_of({set(train_pixels, train_labels), set(test_pixels, test_labels), "", false});
  }

  Bytes train_pixels, test_pixels, train_labels, test_labels;
};

}  // namespace

TEST_CASE("an identity holds counts, sizes, classes and two checksums, and equal data has an equal identity") {
  const DataIdentity identity = Sample().identity();
  CHECK(identity == Sample().identity());
  CHECK(identity.train_count == 300);
  CHECK(identity.test_count == 40);
  CHECK(identity.num_classes == 10);
  CHECK(describe(identity).starts_with("300 + 40 images of 28x28 in 10 classes, labels "));
}

TEST_CASE("labels and pixels have separate checksums") {
  Sample other;
  const DataIdentity before = other.identity();
  other.test_labels[7] ^= 1;
  CHECK(other.identity().labels_crc32c != before.labels_crc32c);
  CHECK(other.identity().sampled_rows_crc32c == before.sampled_rows_crc32c);
}

TEST_CASE("in a small set every pixel is part of the checksum") {
  Sample other(20, 10);
  const DataIdentity before = other.identity();
  for (Bytes* pixels : {&other.train_pixels, &other.test_pixels}) {
    for (std::size_t i = 0; i < pixels->size(); i += 97) {
      (*pixels)[i] ^= 0x80;
      CHECK(other.identity() != before);
      (*pixels)[i] ^= 0x80;
    }
  }
  CHECK(other.identity() == before);
}

TEST_CASE("in a large set, damage as long as two stretches is always detected") {
  Sample other(2000, 10);  // 56000 rows, so stretches of 13 or 14
  const DataIdentity before = other.identity();
  const std::size_t damaged = 2 * 14 * 28;
  for (std::size_t at = 0; at + damaged <= other.train_pixels.size(); at += 11 * damaged) {
    for (std::size_t i = at; i < at + damaged; ++i) other.train_pixels[i] ^= 0xff;
    CHECK(other.identity() != before);
    for (std::size_t i = at; i < at + damaged; ++i) other.train_pixels[i] ^= 0xff;
  }
}

TEST_CASE("a different size or number of classes is a different shape, a different count is not") {
  Sample fewer(100, 40), five_classes;
  for (Bytes* labels : {&five_classes.train_labels, &five_classes.test_labels}) {
    for (std::uint8_t& label : *labels) label %= 5;
  }
  CHECK(same_shape(Sample().identity(), fewer.identity()));
  CHECK_FALSE(same_shape(Sample().identity(), five_classes.identity()));
  DataIdentity larger = Sample().identity();
  larger.height = 32;
  CHECK_FALSE(same_shape(Sample().identity(), larger));
}
