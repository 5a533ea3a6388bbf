// Softmax cross-entropy and its gradient, the same for every backend that computes on the host.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"

namespace distmnist {

// Error (kData) for a label that is not below `classes`, naming its sample.
void check_labels(std::span<const std::uint8_t> labels, std::int64_t classes);

// The mean of -log softmax(logits)[label] over the batch, and the samples whose largest logit is the label's.
// logits [batch, classes]; labels [batch]. Writes the mean's gradient, (softmax(logits) - one_hot(label)) / batch, to
// `gradient` [batch, classes]. Sums are in double and the largest logit is subtracted first, so no finite logit
// overflows; logits that are not finite make the loss NaN. Error (kData) for a label that is not below the number of
// classes.
template <typename T>  // float or double
StepResult softmax_cross_entropy(std::span<const T> logits, std::span<const std::uint8_t> labels,
                                 std::span<T> gradient);

}  // namespace distmnist
