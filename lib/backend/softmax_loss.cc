#include "lib/backend/softmax_loss.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "lib/base/error.h"

namespace distmnist {

void check_labels(std::span<const std::uint8_t> labels, std::int64_t classes) {
  const auto bad = std::ranges::find_if(labels, [classes](std::uint8_t label) { return label >= classes; });
  if (bad == labels.end()) return;
  fail(ExitCode::kData, "sample {} of the batch has label {}, but the model has {} classes; use labels 0 to {}",
       bad - labels.begin(), *bad, classes, classes - 1);
}

template <typename T>
StepResult softmax_cross_entropy(std::span<const T> logits, std::span<const std::uint8_t> labels,
                                 std::span<T> gradient) {
  assert(!labels.empty() && logits.size() % labels.size() == 0 && gradient.size() == logits.size());
  const std::size_t batch = labels.size();
  const std::size_t classes = logits.size() / batch;
  check_labels(labels, static_cast<std::int64_t>(classes));
  StepResult result;
  for (std::size_t n = 0; n < batch; ++n) {
    const std::size_t label = labels[n];
    const std::span<const T> row = logits.subspan(n * classes, classes);
    const auto largest = std::ranges::max_element(row);
    std::array<double, 256> exponentials;
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += exponentials[c] = std::exp(static_cast<double>(row[c]) - *largest);
    result.loss += std::log(sum) - (static_cast<double>(row[label]) - *largest);
    result.correct += static_cast<std::size_t>(largest - row.begin()) == label;
    for (std::size_t c = 0; c < classes; ++c) {
      const double probability = exponentials[c] / sum;
      gradient[n * classes + c] = static_cast<T>((probability - (c == label)) / static_cast<double>(batch));
    }
  }
  result.loss /= static_cast<double>(batch);
  return result;
}

template StepResult softmax_cross_entropy(std::span<const float>, std::span<const std::uint8_t>, std::span<float>);
template StepResult softmax_cross_entropy(std::span<const double>, std::span<const std::uint8_t>, std::span<double>);

}  // namespace distmnist
