// Softmax loss: softmax cross-entropy and its gradient, shared by all backends that compute on the host.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"

namespace distmnist {

// Error (kData), with the sample, for a label that is not below `classes`.
void check_labels(std::span<const std::uint8_t> labels, std::int64_t classes);

// Returns the mean of -log softmax(logits)[label] over the batch, and the number of samples whose largest logit is that
// of the label. logits [batch, classes]; labels [batch]. Writes the gradient of the mean, (softmax(logits) -
// one_hot(label)) / batch, to `gradient` [batch, classes]. Sums are in double and the largest logit is subtracted
// first, so no finite logit overflows; logits that are not finite make the loss NaN. Error (kData) for a label that is
// not below the number of classes.
template <typename T>  // float or double
StepResult softmax_cross_entropy(std::span<const T> logits, std::span<const std::uint8_t> labels,
                                 std::span<T> gradient);

}  // namespace distmnist
