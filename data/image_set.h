// ImageSet: labelled images in memory, stored as bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/mapped_file.h"

namespace distmnist {

// The images and labels of one split. Cheap to copy: the bytes (heap or mapped file) are shared and immutable.
struct ImageSet {
  std::int64_t count = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::span<const std::uint8_t> pixels;             // [count, height, width], 0 black .. 255 white ink
  std::span<const std::uint8_t> labels;             // [count]
  std::vector<std::shared_ptr<const void>> owners;  // keep `pixels` and `labels` alive

  // The mapped files among the owners.
  std::vector<std::shared_ptr<const MappedFile>> mapped = {};

  std::int64_t image_size() const { return height * width; }

  // Call if the data will not be read for a while; see MappedFile.
  void let_pages_go() const {
    for (const auto& file : mapped) file->let_pages_go();
  }
};

struct TrainAndTest {
  ImageSet train;
  ImageSet test;
  // For console output: "MNIST from /data (60000 + 10000)", "synthetic digits (this is not MNIST)".
  std::string description;
  bool synthetic = false;
};

}  // namespace distmnist
