// Evaluation: the accuracy and loss of a model on a set of images.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/image_set.h"
#include "lib/backend/backend.h"

namespace distmnist {

struct Evaluation {
  std::int64_t count = 0;
  double accuracy = 0;                               // 0 .. 1
  double loss = 0;                                   // mean cross-entropy, in nats
  std::vector<std::vector<std::int64_t>> confusion;  // [label][predicted]
};

// Predicts all images in order, `batch_size` at a time (at most the executor's max_batch_size). `classes` is the number
// of logits of the model. `after_batch` is called after each batch.
Evaluation evaluate(Executor& executor, const ImageSet& images, std::int64_t batch_size, std::int64_t classes,
                    const std::function<void()>& after_batch = {});

// Converts pixels to network inputs: divides each by 255. `pixels` and `values` have the same length.
void scale_pixels(std::span<const std::uint8_t> pixels, std::span<float> values);

// exp(logits) / sum. The largest logit is subtracted first, so this cannot overflow.
std::vector<double> softmax_of(std::span<const float> logits);

// The confusion matrix as a text table, one row per label and one column per prediction.
std::vector<std::string> confusion_table(const Evaluation& evaluation);

}  // namespace distmnist
